export interface ScenarioName {
  /** For `--only`. */
  readonly letter: string;
  /** `test/faults/<file>.test.ts`. */
  readonly file: string;
  readonly about: string;
}

/** All of them: those of Redis, of Kafka, and of what comes and goes. */
export const SCENARIOS: readonly ScenarioName[] = [
  {
    letter: 'A',
    file: 'redis-power',
    about: 'Redis killed, the end of its append-only file lost, scripts forgotten',
  },
  {
    letter: 'B',
    file: 'redis-proxy',
    about: 'replies of Redis lost, connections cut, everything late or silent',
  },
  { letter: 'C', file: 'redis-failover', about: 'failover to a replica that lagged, READONLY' },
  { letter: 'D', file: 'redis-cluster', about: 'slots moved under writes, masters killed' },
  { letter: 'E', file: 'redis-full', about: 'Redis full, told to evict, emptied' },
  { letter: 'F', file: 'broker', about: 'the broker killed or suspended, its acknowledgements lost' },
  { letter: 'G', file: 'brokers', about: 'leaders, coordinators and controllers of three brokers away' },
  { letter: 'H', file: 'rebalance-storm', about: 'members of the consumer groups come and go' },
  { letter: 'I', file: 'registry', about: 'the schema registry away when its schemas are needed' },
  { letter: 'J', file: 'rolling-upgrade', about: 'another version of the views, one process at a time' },
  { letter: 'K', file: 'topic', about: 'topics that forget what was applied, and grow' },
];

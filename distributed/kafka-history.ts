/**
 * The topics of sources as a history. It reads them beside everyone else, in consumer groups that nobody else is in and that
 * are deleted afterwards (`LoneReader`): no group of the deployment hears of it, and no offset is committed.
 */
import type { HistoryLog, LogAccess, LogHistoryOptions } from '../archive/log-history.ts';
import type { CompiledSource } from '../engine/definitions/compiled.ts';
import type { RegistryOptions } from '../ingest/decoding/schema-registry.ts';
import type { LogReader } from '../ingest/log/event-log.ts';
import type { KafkaSettings } from '../ingest/log/kafka/kafka-client.ts';

export interface KafkaHistoryOptions extends LogHistoryOptions {
  readonly kafka: KafkaSettings;
  /** What the names of the consumer groups begin with: `GROUP.SOURCE.history-…`. @default millrace */
  readonly group?: string;
  /** @default records are JSON */
  readonly registry?: RegistryOptions | null;
  /** Of records whose schema the registry does not have: the call fails, or they do not count. @default 'stop' */
  readonly onLostSchema?: 'stop' | 'continue';
}

/** Bytes that wait before they are decoded: some chunks of the partitions that are read side by side. */
const QUEUED_BYTES = { partition: 4 * 1024 * 1024, total: 32 * 1024 * 1024 };
const STALL_MS = 120_000;

/**
 * For `trainingSet({ history })`: the events that the sources' topics hold when it is asked for.
 *
 * @example
 * const history = kafkaHistory({ kafka: { brokers: ['localhost:9092'], clientId: 'training' } });
 * await trainingSet({ repo, service, spine, history });
 */
export function kafkaHistory(options: KafkaHistoryOptions): HistoryLog {
  return {
    // Brokers of another cluster have other topics of the same names.
    identity: { kafka: [...options.kafka.brokers].sort() },
    async writeTo(directory, sources) {
      // Loaded here: a feature repo needs none of it.
      const { LogHistory } = await import('../archive/log-history.ts');
      return new LogHistory({ open: () => openTopics(options), options }).writeTo(directory, sources);
    },
  };
}

async function openTopics(options: KafkaHistoryOptions): Promise<LogAccess> {
  const [
    { LogHistoryError },
    { KafkaConnection },
    { KafkaUnreachableError, PartitionNotAssignedError, TopicMissingError },
    { openSchemaRegistry },
    { recordDecoder },
    { pino },
  ] = await Promise.all([
    import('../archive/log-history.ts'),
    import('../ingest/log/kafka/kafka-log.ts'),
    import('../ingest/log/kafka/kafka-errors.ts'),
    import('../ingest/decoding/schema-registry.ts'),
    import('../ingest/decoding/registry-record-decoder.ts'),
    import('pino'),
  ]);
  const { group = 'millrace', registry: registryOptions = null, onLostSchema = 'stop' } = options;
  const connection = await KafkaConnection.open(options.kafka, pino({ level: 'silent' }));
  try {
    const registry = registryOptions === null ? null : await openSchemaRegistry(registryOptions);
    return {
      info: async (source) => {
        const info = connection.info(topicOf(source));
        try {
          await info.partitions();
          return info;
        } catch (error) {
          if (!(error instanceof TopicMissingError)) throw error;
          // What the roles advise, to make one, is of no use here.
          throw new LogHistoryError(
            `there is no topic ${info.topic} of source ${source.name} at ${options.kafka.brokers.join(', ')} (--kafka)`,
            { cause: error },
          );
        }
      },
      open: async (source, fail, signal) => {
        const lone = await connection.loneReader(topicOf(source), {
          ...{ group, purpose: 'history', signal },
          ...{ maxQueuedBytes: QUEUED_BYTES, onStalled: fail, stallMs: STALL_MS },
        });
        const decoder = recordDecoder({ source: source.definition, registry, onLostSchema });
        const { reader } = lone;
        const log: LogReader = {
          source: source.name,
          partitions: () => reader.partitions(),
          identity: (partition) => reader.identity(partition),
          ends: (partition) => reader.ends(partition),
          waitFor: (partition, offset, aborted) => reader.waitFor(partition, offset, aborted),
          read: (args) =>
            reader.read(args).catch((error: unknown) => {
              // There is no other member: it has lost its brokers.
              if (!(error instanceof PartitionNotAssignedError)) throw error;
              const { state, reason = 'it does not say why' } = reader.status();
              throw new KafkaUnreachableError(
                `topic ${source.definition.topic} cannot be read from Kafka: the consumer is ${state} (${reason})`,
                { cause: error },
              );
            }),
        };
        return { log, decoder, close: () => lone.close() };
      },
      close: async () => {
        registry?.close();
        await connection.close();
      },
    };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

const topicOf = ({ name, definition }: CompiledSource) => ({ topic: definition.topic, source: name });

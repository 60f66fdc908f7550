import { expect, it } from 'vitest';
import { durabilityProblems, minInsyncReplicasOf } from './topic-durability.ts';

it('says what to change where an acknowledged record can be lost with one broker', () => {
  const problems = (replicas: number, minInsyncReplicas: number, uncleanElection = false) =>
    durabilityProblems({ replicas, minInsyncReplicas, uncleanElection });
  expect(problems(3, 2)).toEqual([]);
  expect(problems(2, 2)).toEqual([]);
  expect(problems(1, 1)).toEqual([]);
  expect(problems(1, 1, true)).toEqual([]);
  expect(problems(3, 1)).toEqual([expect.stringMatching(/min\.insync\.replicas is 1.*set it to 2$/)]);
  expect(problems(2, 1)).toEqual([expect.stringMatching(/replication factor to 3$/)]);
  expect(problems(3, 2, true)).toEqual([expect.stringMatching(/^unclean\.leader\.election\.enable/)]);
  expect(problems(3, 1, true)).toHaveLength(2);
});

it('lets one broker of three fail in topics that are made', () => {
  expect([-1, 1, 2, 3, 5].map(minInsyncReplicasOf)).toEqual([null, null, null, 2, 2]);
});

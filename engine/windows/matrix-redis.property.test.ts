/**
 * The matrix over a Redis of its own, many cases at a time on one connection: see matrix-memory.property.test.ts. Seeds
 * of its own, so that no case is run twice.
 */
import { describeWithServices } from '../../services/index.ts';
import { testMatrix } from '../testing/matrix/describe-matrix.ts';

describeWithServices(['redis'], 'every value equals the oracle, on Redis', () => {
  testMatrix('redis', { first: 1_000_001, count: 3_000, rare: true });
});

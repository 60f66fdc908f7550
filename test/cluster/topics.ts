/** The topics of the fixture `roles`. */
export interface Topics {
  readonly payments: string;
  readonly visits: string;
}

/** Of each topic. */
export const PARTITIONS = 4;

/** @param prefix the value of `TEST_TOPICS` */
export const topicsOf = (prefix: string): Topics => ({
  payments: `${prefix}.payments`,
  visits: `${prefix}.visits`,
});

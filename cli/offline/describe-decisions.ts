/** What became of the decisions of a log that a training set was made of, for people. */
import { LEFT_OUT, type LeftOut } from '../../offline/decisions/decision-table.ts';
import type { DecisionTrainingSummary } from '../../offline/decisions/decision-training-set.ts';
import { formatCount } from '../replay/progress-display.ts';

export const countOf = (count: number, what: string): string =>
  `${formatCount(count)} ${what}${count === 1 ? '' : 's'}`;

/** Of what two commands leave out of a decision log. */
export function leftOutNotes(
  leftOut: ReadonlyMap<LeftOut, number>,
  {
    unknownKeys,
    openFiles,
  }: { readonly unknownKeys: ReadonlyMap<string, number>; readonly openFiles: number },
): string[] {
  const notes: string[] = [];
  for (const [reason, count] of leftOut)
    notes.push(
      `${countOf(count, 'decision')} left out: ${LEFT_OUT[reason]}${reason === 'no_secret' ? ' (MILLRACE_DECISION_LOG_SECRET)' : ''}`,
    );
  if (openFiles > 0) notes.push(`${countOf(openFiles, 'file')} not looked at: still being written (.open)`);
  for (const [entity, count] of unknownKeys)
    notes.push(
      `${countOf(count, 'decision')} with a hashed ${entity} that no event of the history has: computed as without events`,
    );
  return notes;
}

export function describeDecisions(summary: DecisionTrainingSummary): string {
  const { ofService, rows, repeated, withoutEvent, labels, missingEvents, notLearnable, openFiles } = summary;
  const notes = [`${countOf(ofService, 'decision')} logged, ${formatCount(rows)} of them rows`];
  if (labels !== null) {
    const { labelled, unlabelled, tooYoung, withoutDecision, tooLate } = labels;
    notes.push(`${formatCount(labelled)} labelled, ${formatCount(unlabelled)} unlabelled`);
    if (tooYoung > 0)
      notes.push(
        `${countOf(tooYoung, 'decision')} left out: younger than the label window, and without a label`,
      );
    if (tooLate > 0)
      notes.push(`${countOf(tooLate, 'label')} not counted: later than the label window, or than --until`);
    if (withoutDecision > 0)
      notes.push(`${countOf(withoutDecision, 'event')} with a label and without a decision`);
  }
  if (repeated > 0)
    notes.push(`${countOf(repeated, 'decision')} left out: of an event that was decided before`);
  if (withoutEvent > 0)
    notes.push(`${countOf(withoutEvent, 'decision')} left out: about no event that could have a label`);
  notes.push(...leftOutNotes(summary.leftOut, { unknownKeys: summary.unknownKeys, openFiles }));
  if (missingEvents > 0)
    notes.push(`${countOf(missingEvents, 'decided event')} recorded and not in the history: is it complete?`);
  for (const [feature, statuses] of notLearnable) {
    const counts = [...statuses].map(([status, count]) => `${status} ${formatCount(count)}`).join(', ');
    notes.push(`${feature}: null where it was answered as ${counts}`);
  }
  return notes.join('\n');
}

/** On-demand features of the rows of a spine, from what was found for their inputs and from the rows' own request data. */
import type { ColumnValue } from '../engine/aggregators/partial-aggregate.ts';
import type { CompiledService } from '../engine/definitions/compiled.ts';
import type { OnDemandFeature } from '../engine/definitions/types.ts';
import { type FeatureAnswer, withoutValue } from '../serve/feature-answer.ts';
import { OnDemandStep } from '../serve/on-demand-plan.ts';
import { isNumberColumn, transported, type Vector, valueAt } from './as-of-stream.ts';
import { type DuckDb, quoted } from './duckdb.ts';
import { type TransportColumn, transportOfType } from './feature-transport.ts';
import { AT, PLACE, requestColumn, SPINE } from './spine.ts';
import { ValueTable } from './value-table.ts';
import { cellReaderOf } from './view-evaluator.ts';

/** Rows whose values are gathered before they are written. */
const ROWS_AT_ONCE = 16_384;

/** Where the values of a view's features are. */
export interface ViewValues {
  readonly view: CompiledService['views'][number];
  readonly table: ValueTable;
}

type Answer = { -readonly [Field in keyof FeatureAnswer]: FeatureAnswer[Field] };

/** An input as it is read from the joined tables. */
interface Input {
  readonly slot: number;
  readonly transport: TransportColumn;
  readonly sql: string;
  /** Whether the row has a key for the view: there is no column but the table's own to tell. */
  readonly keySql: string;
}

/**
 * Fills a table with the values of all on-demand features of the service, in their order.
 * @param onRows told how many rows are done, now and then
 */
export async function onDemandValues(
  db: DuckDb,
  service: CompiledService,
  views: readonly ViewValues[],
  onRows: (done: number) => void,
): Promise<{ readonly table: ValueTable; readonly errors: ReadonlyMap<string, number> }> {
  const slots = new Map<unknown, Map<string, number>>();
  const inputs: Input[] = [];
  const used = usedInputs(service.onDemand);
  views.forEach(({ view: { view, features }, table }, v) => {
    const own = new Map<string, number>();
    slots.set(view.definition, own);
    features.forEach((feature, f) => {
      if (!used.get(view.definition)?.has(feature.name)) return;
      const slot = inputs.length;
      own.set(feature.name, slot);
      inputs.push({ slot, transport: table.transports[f]!, sql: `v${v}.f${f}`, keySql: `v${v}.k` });
    });
  });
  const onDemandSlots = new Map(service.onDemand.map((feature, o) => [feature, inputs.length + o]));
  const steps = service.onDemand.map(
    (feature) =>
      new OnDemandStep(feature, (input) =>
        input.kind === 'feature_reference'
          ? slots.get(input.view)!.get(input.name)!
          : onDemandSlots.get(input)!,
      ),
  );
  const transports = service.onDemand.map(({ type }) => transportOfType(type));
  const table = new ValueTable(db, 'values on demand', transports);
  await table.create();

  const requests = Object.entries(service.request).map(([name, { type }]) => ({
    name,
    type,
    read: cellReaderOf(type),
  }));
  const selected = [
    `CAST(s.${quoted(PLACE)} AS DOUBLE)`,
    `CAST(s.${quoted(AT)} AS DOUBLE)`,
    ...requests.map(({ name, type }) => transported(`s.${quoted(requestColumn(name))}`, type)),
    ...inputs.flatMap(({ sql, keySql }) => [sql, `CAST(coalesce(${keySql}, -1) AS DOUBLE)`]),
  ];
  const joins = views.map(
    ({ table: { name } }, v) => `LEFT JOIN ${quoted(name)} v${v} ON v${v}.place = s.${quoted(PLACE)}`,
  );
  const errors = new Map<string, number>();
  let out = emptyOutput(transports);
  let done = 0;
  for await (const chunk of db.stream(`SELECT ${selected.join(', ')} FROM ${SPINE} s ${joins.join(' ')}`)) {
    const vectors = selected.map((_, c) => chunk.getColumnVector(c) as unknown as Vector);
    for (let i = 0; i < chunk.rowCount; i++) {
      const request: Record<string, ColumnValue> = {};
      requests.forEach(({ name, type, read }, r) => {
        const vector = vectors[2 + r]!;
        request[name] = isNumberColumn(type) ? read(vector.items as Float64Array, i) : valueAt(vector, i);
      });
      const answers: Answer[] = [];
      inputs.forEach(({ transport }, n) => {
        const [value, key] = [vectors[2 + requests.length + 2 * n]!, vectors[3 + requests.length + 2 * n]!];
        // Without a key there is nothing that could be a value, not even an empty one.
        answers.push(
          key.items[i]! < 0
            ? withoutValue('error')
            : {
                ...PRESENT,
                value: transport.read(transport.isNumber ? value.items[i]! : (value.getItem(i) as never)),
              },
        );
      });
      const atMs = vectors[1]!.items[i]!;
      steps.forEach((step, s) => {
        const answer = step.answer(answers, request, atMs);
        answers.push(answer);
        if (answer.status === 'error') errors.set(step.name, (errors.get(step.name) ?? 0) + 1);
        out.columns[s]!.push(transports[s]!.write(answer.value));
      });
      out.places.push(vectors[0]!.items[i]!);
    }
    if (out.places.length >= ROWS_AT_ONCE) {
      await table.append(placed(out, transports));
      done += out.places.length;
      onRows(done);
      out = emptyOutput(transports);
    }
  }
  await table.append(placed(out, transports));
  return { table, errors };
}

const PRESENT = { value: null, status: 'present', truncated: false, window: null } as const;

/** By view: the features that on-demand features read. */
function usedInputs(onDemand: readonly OnDemandFeature[]): Map<unknown, Set<string>> {
  const used = new Map<unknown, Set<string>>();
  for (const input of onDemand.flatMap(({ inputs }) => Object.values(inputs))) {
    if (input.kind !== 'feature_reference') continue;
    used.set(input.view, (used.get(input.view) ?? new Set()).add(input.name));
  }
  return used;
}

interface Output {
  readonly places: number[];
  readonly columns: (string | number | bigint | null)[][];
}

function emptyOutput(transports: readonly TransportColumn[]): Output {
  return { places: [], columns: transports.map(() => []) };
}

function placed({ places, columns }: Output, transports: readonly TransportColumn[]) {
  return {
    keys: new Int32Array(places.length),
    places: Float64Array.from(places),
    columns: columns.map((column, c) =>
      transports[c]!.isNumber ? Float64Array.from(column as number[]) : column,
    ),
  };
}

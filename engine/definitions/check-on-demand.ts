import { checkColumns, checkCommon, checkName, placeName, show } from './check-parts.ts';
import { COLUMN_TYPES } from './column-value.ts';
import type { ProblemList, Report } from './definition-error.ts';
import { isObject, kindOf, type Loose } from './loose.ts';

export function checkOnDemand(feature: Loose, report: Report): void {
  checkName(feature.name, 'feature name', report);
  checkCommon(feature, report);
  if (!COLUMN_TYPES.includes(feature.type as never)) {
    report(`unknown type ${show(feature.type)}; types are ${COLUMN_TYPES.join(', ')}`);
  }
  if (typeof feature.compute !== 'function') report('compute must be a function');
  if (isObject(feature.request)) checkColumns(feature.request, 'request column', report);
  else report('request must be an object of columns by name');
  if (!isObject(feature.inputs)) {
    report('inputs must be an object of features by name');
    return;
  }
  for (const name of Object.keys(feature.inputs)) {
    checkName(name, 'input', report);
    checkInput(feature.inputs[name], `input '${name}'`, report);
  }
}

/** A reference to a feature of a view, or an on-demand feature. */
export function checkInput(input: unknown, what: string, report: Report): void {
  const kind = kindOf(input);
  if (kind === 'on_demand_feature') return;
  if (kind !== 'feature_reference') {
    report(`${what} must be a feature of a view (view.feature.NAME) or an on-demand feature`);
    return;
  }
  const { view, name } = input as Loose;
  if (kindOf(view) !== 'feature_view') {
    report(`${what} refers to no feature view`);
    return;
  }
  const { features } = view as Loose;
  if (typeof name !== 'string' || !isObject(features) || !Object.hasOwn(features, name)) {
    report(`${what}: view ${placeName((view as Loose).name)} has no feature ${show(name)}`);
  }
}

const onDemandInputs = (feature: Loose): Loose[] =>
  isObject(feature.inputs)
    ? (Object.values(feature.inputs).filter((input) => kindOf(input) === 'on_demand_feature') as Loose[])
    : [];

/** Reports each cycle of on-demand features once, at the feature where it is entered. */
export function checkCycles(features: readonly Loose[], problems: ProblemList): void {
  const done = new Set<Loose>();
  const path: Loose[] = [];
  const visit = (feature: Loose): void => {
    if (done.has(feature)) return;
    const entry = path.indexOf(feature);
    if (entry >= 0) {
      const names = [...path.slice(entry), feature].map((item) => placeName(item.name));
      problems.add(`on-demand feature ${names[0]}`, `needs itself: ${names.join(' → ')}`);
      return;
    }
    path.push(feature);
    for (const input of onDemandInputs(feature)) visit(input);
    path.pop();
    done.add(feature);
  };
  for (const feature of features) visit(feature);
}

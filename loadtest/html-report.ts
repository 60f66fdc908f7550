/** The report as one HTML file that needs nothing else: tables, and latency and throughput over time. */
import {
  isMet,
  type LoadReport,
  PHASE_HEADINGS,
  phaseCells,
  USAGE_HEADINGS,
  usageCells,
} from './load-report.ts';
import { type Band, escaped, type TimeLine, timePlot } from './time-plot.ts';
import type { Latency, Slice } from './time-series.ts';

const STYLE = `body { font: 14px sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: 3px 10px; border-bottom: 1px solid #ddd; text-align: left; }
.numbers td:not(:first-child), .numbers th:not(:first-child) { text-align: right; }
.missed { color: #b00; font-weight: bold; }`;

export function htmlReport(report: LoadReport): string {
  const { scenario, summary, series, rows, judgements, notes, usage, facts } = report;
  const bands = bandsOf(report);
  const bare = rows.some(({ target }) => target === 'bare');
  return [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8">',
    `<title>Millrace load test: ${escaped(scenario)}</title><style>${STYLE}</style></head><body>`,
    `<h1>${escaped(scenario)}: ${isMet(report) ? 'all SLOs met' : '<span class="missed">SLOs not met</span>'}</h1>`,
    `<p>${escaped(summary)}</p>`,
    table([...PHASE_HEADINGS], rows.map(phaseCells), 'numbers'),
    table(
      ['SLO', 'measured', ''],
      judgements.map(({ slo, measured, ok }) => [slo, measured, ok ? 'met' : 'NOT MET']),
      '',
    ),
    timePlot({ title: 'Latency', unit: 'ms', lines: latencyLines(series, bare), bands, logarithmic: true }),
    timePlot({ title: 'Throughput', unit: '1/s', lines: throughputLines(report, bare), bands }),
    table([...USAGE_HEADINGS], usageCells(usage), 'numbers'),
    `<ul>${notes.map((note) => `<li>${escaped(note)}</li>`).join('')}</ul>`,
    table(['', ''], Object.entries(facts), ''),
    '</body></html>',
    '',
  ].join('\n');
}

function latencyLines(series: readonly Slice[], bare: boolean): TimeLine[] {
  const line = (name: string, colour: string, of: (slice: Slice) => number | undefined): TimeLine => ({
    name,
    colour,
    points: series.map((slice) => [slice.atS, of(slice) ?? null]),
  });
  const ours = (key: keyof Latency) => (slice: Slice) => slice.latency?.[key];
  return [
    line('p50', '#2a9d4a', ours('p50Ms')),
    line('p95', '#2f6fd0', ours('p95Ms')),
    line('p99', '#d08a1f', ours('p99Ms')),
    line('slowest', '#c43c3c', ours('maxMs')),
    ...(bare ? [line('bare, p99', '#7a7a7a', (slice) => slice.bareLatency?.p99Ms)] : []),
  ];
}

function throughputLines({ series, phases, rows }: LoadReport, bare: boolean): TimeLine[] {
  const line = (name: string, colour: string, of: (slice: Slice) => number): TimeLine => ({
    name,
    colour,
    points: series.map((slice) => [slice.atS, of(slice)]),
  });
  const asked: [number, number][] = [];
  // Known only of each phase.
  const dropped: [number, number][] = [];
  let atS = 0;
  phases.forEach(({ ratePerSecond, rampFrom = ratePerSecond, seconds }, i) => {
    const droppedPerSecond = rows[i]!.dropped / seconds;
    dropped.push([atS, droppedPerSecond], [atS + seconds, droppedPerSecond]);
    asked.push([atS, rampFrom], [atS + Math.min(1, seconds / 2), ratePerSecond]);
    asked.push([atS + Math.max(seconds - 1, seconds / 2), ratePerSecond], [atS + seconds, rampFrom]);
    atS += seconds;
  });
  return [
    { name: 'asked', colour: '#bbb', points: asked },
    line('answered', '#2a9d4a', ({ answers }) => answers),
    line('shed', '#d08a1f', ({ shed }) => shed),
    line('errors', '#c43c3c', ({ failed }) => failed),
    { name: 'dropped', colour: '#8a3cc4', points: dropped },
    ...(bare ? [line('bare', '#7a7a7a', ({ bareAnswers }) => bareAnswers)] : []),
  ];
}

function bandsOf({ phases }: LoadReport): Band[] {
  let atS = 0;
  return phases.map(({ name, seconds }) => {
    const fromS = atS;
    atS += seconds;
    return { name, fromS, untilS: atS };
  });
}

function table(headings: readonly string[], rows: readonly (readonly string[])[], style: string): string {
  const cell = (content: string): string =>
    content === 'NOT MET' ? `<td class="missed">${content}</td>` : `<td>${escaped(content)}</td>`;
  return [
    `<table class="${style}"><tr>${headings.map((one) => `<th>${escaped(one)}</th>`).join('')}</tr>`,
    ...rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`),
    '</table>',
  ].join('\n');
}

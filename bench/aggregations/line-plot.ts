/** Line plots as SVG: panels side by side, both axes logarithmic, one legend and a caption below. */

export interface Series {
  readonly name: string;
  readonly colour: string;
  readonly dashed?: boolean;
  /** x and y, both above 0, ascending in x. */
  readonly points: readonly (readonly [number, number])[];
}

export interface Panel {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
  /** A horizontal line, as of a target. */
  readonly limit?: { readonly y: number; readonly label: string };
}

const PANEL = { width: 460, height: 300, left: 64, right: 24, top: 56, bottom: 48 };
const LEGEND_ROW = 18;
const CAPTION_ROW = 15;
const CAPTION_LETTERS = 150;

export function linePlot(plot: {
  title: string;
  panels: readonly Panel[];
  caption: readonly string[];
}): string {
  const legend = new Map(plot.panels.flatMap(({ series }) => series).map((one) => [one.name, one]));
  const caption = plot.caption.flatMap((line) => wrapped(line, CAPTION_LETTERS));
  const width = PANEL.width * plot.panels.length;
  const columns = plot.panels.length * 2;
  const legendRows = Math.ceil(legend.size / columns);
  const captionTop = PANEL.height + legendRows * LEGEND_ROW + 24;
  const height = captionTop + caption.length * CAPTION_ROW;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    text(12, 22, plot.title, 'font-size="15" font-weight="bold"'),
    ...plot.panels.map((panel, i) => panelOf(panel, i * PANEL.width)),
    ...[...legend.values()].map((one, i) => {
      const x = 16 + (i % columns) * (width / columns);
      const y = PANEL.height + 12 + Math.floor(i / columns) * LEGEND_ROW;
      return `${line([x, y], [x + 24, y], stroke(one))}${text(x + 30, y + 4, one.name)}`;
    }),
    ...caption.map((row, i) => text(12, captionTop + i * CAPTION_ROW, row, 'fill="#555"')),
    '</svg>',
    '',
  ].join('\n');
}

function panelOf({ title, xLabel, yLabel, series, limit }: Panel, offset: number): string {
  const left = offset + PANEL.left;
  const right = offset + PANEL.width - PANEL.right;
  const bottom = PANEL.height - PANEL.bottom;
  const points = series.flatMap((one) => one.points);
  const xs = scaleOf(
    points.map(([x]) => x),
    left,
    right,
  );
  const ys = scaleOf(
    [...points.map(([, y]) => y), ...(limit === undefined ? [] : [limit.y])],
    bottom,
    PANEL.top,
  );
  const parts = [text((left + right) / 2, PANEL.top - 10, title, 'text-anchor="middle" font-weight="bold"')];
  for (const x of xs.ticks) {
    parts.push(line([xs.at(x), PANEL.top], [xs.at(x), bottom], GRID));
    parts.push(text(xs.at(x), bottom + 16, short(x), 'text-anchor="middle"'));
  }
  for (const y of ys.ticks) {
    parts.push(line([left, ys.at(y)], [right, ys.at(y)], GRID));
    parts.push(text(left - 6, ys.at(y) + 4, short(y), 'text-anchor="end"'));
  }
  parts.push(
    `<rect x="${left}" y="${PANEL.top}" width="${right - left}" height="${bottom - PANEL.top}" fill="none" stroke="#888"/>`,
  );
  parts.push(text((left + right) / 2, bottom + 34, xLabel, 'text-anchor="middle"'));
  const middle = (PANEL.top + bottom) / 2;
  parts.push(
    text(
      offset + 14,
      middle,
      yLabel,
      `text-anchor="middle" transform="rotate(-90 ${offset + 14} ${middle})"`,
    ),
  );
  if (limit !== undefined) {
    parts.push(line([left, ys.at(limit.y)], [right, ys.at(limit.y)], 'stroke="#c00" stroke-dasharray="2 3"'));
    parts.push(text(left + 4, ys.at(limit.y) - 4, limit.label, 'fill="#c00"'));
  }
  for (const one of series) {
    const at = one.points.map(([x, y]) => `${round(xs.at(x))},${round(ys.at(y))}`);
    parts.push(`<polyline fill="none" points="${at.join(' ')}" ${stroke(one)}/>`);
    for (const point of at) {
      const [x, y] = point.split(',');
      parts.push(`<circle cx="${x}" cy="${y}" r="2.5" fill="${one.colour}"/>`);
    }
  }
  return parts.join('\n');
}

const GRID = 'stroke="#e4e4e4"';

const stroke = ({ colour, dashed }: Series): string =>
  `stroke="${colour}" stroke-width="1.8"${dashed === true ? ' stroke-dasharray="5 4"' : ''}`;

interface Scale {
  readonly ticks: readonly number[];
  at(value: number): number;
}

/** Logarithmic, over whole decades. */
function scaleOf(values: readonly number[], from: number, to: number): Scale {
  const low = Math.floor(Math.log10(Math.min(...values)) + 1e-9);
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values)) - 1e-9));
  return {
    ticks: Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)),
    at: (value) => from + ((Math.log10(value) - low) / (high - low)) * (to - from),
  };
}

function short(value: number): string {
  if (value >= 1e6) return `${value / 1e6} M`;
  return value >= 1e3 ? `${value / 1e3} k` : String(Number(value.toPrecision(3)));
}

const round = (value: number): string => value.toFixed(1);

function line(
  [x1, y1]: readonly [number, number],
  [x2, y2]: readonly [number, number],
  style: string,
): string {
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" ${style}/>`;
}

function text(x: number, y: number, content: string, style = ''): string {
  return `<text x="${round(x)}" y="${round(y)}" ${style}>${escaped(content)}</text>`;
}

const escaped = (content: string): string =>
  content.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

function wrapped(content: string, letters: number): string[] {
  const rows: string[] = [];
  let row = '';
  for (const word of content.split(' ')) {
    if (row !== '' && row.length + word.length >= letters) {
      rows.push(row);
      row = word;
    } else row = row === '' ? word : `${row} ${word}`;
  }
  return [...rows, row];
}

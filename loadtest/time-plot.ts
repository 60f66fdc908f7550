/** A plot over time as SVG, with the phases of the run as bands. */

export interface TimeLine {
  readonly name: string;
  readonly colour: string;
  /** Seconds and values, ascending in time; null: a gap. */
  readonly points: readonly (readonly [number, number | null])[];
}

export interface Band {
  readonly name: string;
  readonly fromS: number;
  readonly untilS: number;
}

export interface TimePlot {
  readonly title: string;
  readonly unit: string;
  readonly lines: readonly TimeLine[];
  readonly bands: readonly Band[];
  /** Logarithmic, over whole decades: values must be above 0. @default linear, from 0 */
  readonly logarithmic?: boolean;
}

const WIDTH = 960;
const HEIGHT = 280;
const LEFT = 64;
const RIGHT = WIDTH - 16;
const TOP = 52;
const BOTTOM = HEIGHT - 40;
const LEGEND_STEP = 130;
const TICKS = 5;
const GRID = 'stroke="#e4e4e4"';

export function timePlot({ title, unit, lines, bands, logarithmic = false }: TimePlot): string {
  const values = lines.flatMap(({ points }) =>
    points.flatMap(([, value]) => (value === null ? [] : [value])),
  );
  const untilS = Math.max(
    1,
    ...bands.map((band) => band.untilS),
    ...lines.flatMap((one) => one.points.map(([s]) => s)),
  );
  const x = (s: number): number => LEFT + (s / untilS) * (RIGHT - LEFT);
  const { at: y, ticks } = logarithmic ? logarithmicScale(values) : linearScale(values);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="100%" font-family="sans-serif" font-size="11">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(LEFT, 16, title, 'font-size="14" font-weight="bold"'),
    ...bands.map(
      ({ name, fromS, untilS: end }, i) =>
        `<rect x="${px(x(fromS))}" y="${TOP}" width="${px(x(end) - x(fromS))}" height="${BOTTOM - TOP}" fill="${i % 2 === 0 ? '#f4f6fa' : '#fff'}"/>` +
        text(x(fromS) + 4, TOP + 12, name, 'fill="#667"'),
    ),
  ];
  for (const tick of ticks) {
    parts.push(`<line x1="${LEFT}" x2="${RIGHT}" y1="${px(y(tick))}" y2="${px(y(tick))}" ${GRID}/>`);
    parts.push(text(LEFT - 6, y(tick) + 4, short(tick), 'text-anchor="end"'));
  }
  for (let s = 0; s <= untilS; s += roundStep(untilS)) {
    parts.push(text(x(s), BOTTOM + 16, `${short(s)} s`, 'text-anchor="middle"'));
  }
  parts.push(text(LEFT - 6, TOP - 8, unit, 'text-anchor="end" fill="#667"'));
  lines.forEach(({ name, colour, points }, i) => {
    const legendX = LEFT + i * LEGEND_STEP;
    parts.push(
      `<line x1="${legendX}" x2="${legendX + 20}" y1="32" y2="32" stroke="${colour}" stroke-width="2"/>`,
    );
    parts.push(text(legendX + 26, 36, name));
    for (const piece of piecesOf(points)) {
      const at = piece.map(([s, value]) => `${px(x(s))},${px(y(value))}`);
      if (at.length === 1) {
        const [cx, cy] = at[0]!.split(',');
        parts.push(`<circle cx="${cx}" cy="${cy}" r="2" fill="${colour}"/>`);
      } else {
        parts.push(`<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${at.join(' ')}"/>`);
      }
    }
  });
  return [...parts, '</svg>'].join('\n');
}

/** Without the gaps. */
function piecesOf(points: TimeLine['points']): (readonly [number, number])[][] {
  const pieces: (readonly [number, number])[][] = [[]];
  for (const [s, value] of points) {
    if (value === null) pieces.push([]);
    else pieces.at(-1)!.push([s, value]);
  }
  return pieces.filter((piece) => piece.length > 0);
}

interface Scale {
  readonly ticks: readonly number[];
  at(value: number): number;
}

const toPixels = (share: number): number => BOTTOM - Math.min(1, Math.max(0, share)) * (BOTTOM - TOP);

function linearScale(values: readonly number[]): Scale {
  const most = Math.max(1, ...values);
  const step = roundStep(most);
  const top = step * Math.ceil(most / step);
  return {
    ticks: Array.from({ length: Math.round(top / step) + 1 }, (_, i) => i * step),
    at: (value) => toPixels(value / top),
  };
}

/** 1, 2 or 5 times a power of ten, a few of which make up the whole. */
function roundStep(whole: number): number {
  const rough = whole / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10);
}

function logarithmicScale(values: readonly number[]): Scale {
  const positive = values.filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.min(1, ...positive)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(1, ...positive))));
  return {
    ticks: Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)),
    at: (value) => toPixels((Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)),
  };
}

const px = (value: number): string => value.toFixed(1);

const short = (value: number): string => String(Number(value.toPrecision(3)));

function text(x: number, y: number, content: string, style = ''): string {
  return `<text x="${px(x)}" y="${px(y)}" ${style}>${escaped(content)}</text>`;
}

/** For HTML and SVG. */
export const escaped = (content: string): string =>
  content.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

import { scaleLinear } from 'd3-scale';
import { curveLinear, line } from 'd3-shape';

/** One line of a plot. */
export interface Series {
  /** Written beside it. */
  readonly label: string;
  /** Any CSS colour. */
  readonly colour: string;
  /** From left to right. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** A mark on an axis. */
interface Tick {
  readonly at: number;
  readonly text: string;
}

/** What a plot shows. */
export interface PlotOptions {
  /** One sentence, read by screen readers too. */
  readonly title: string;
  /** What is across. */
  readonly xLabel: string;
  /** What is upwards. */
  readonly yLabel: string;
  /** From and to. */
  readonly x: readonly [number, number];
  /** From and to. */
  readonly y: readonly [number, number];
  /** Marks across. @defaultValue round numbers */
  readonly xTicks?: readonly Tick[];
  /** A stretch of the x axis that is shaded, and why. */
  readonly shade?: { readonly from: number; readonly to: number; readonly text: string };
  /** Lines. */
  readonly series: readonly Series[];
}

const width = 720;
const height = 380;
const margin = { left: 64, right: 24, top: 64, bottom: 52 };
const ink = '#57606a';
const grid = '#d0d7de';

type Attributes = Readonly<Record<string, number | string>>;

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}

function element(name: string, attributes: Attributes, content = ''): string {
  const list = Object.entries(attributes)
    .map(([key, value]) => ` ${key}="${escaped(String(value))}"`)
    .join('');
  return content === '' ? `<${name}${list}/>` : `<${name}${list}>${content}</${name}>`;
}

function text(x: number, y: number, content: string, attributes: Attributes = {}): string {
  return element('text', { x, y, 'text-anchor': 'middle', fill: ink, ...attributes }, escaped(content));
}

function segment(x1: number, y1: number, x2: number, y2: number): string {
  return element('line', { x1, y1, x2, y2, stroke: grid });
}

/** Lines over two linear axes, as a self-contained SVG on white: it is read on dark pages too. */
export function linePlot(options: PlotOptions): string {
  const x = scaleLinear(options.x, [margin.left, width - margin.right]);
  const y = scaleLinear(options.y, [height - margin.bottom, margin.top]);
  const toRounded = (value: number): number => Math.round(value * 10) / 10;
  const xTicks = options.xTicks ?? x.ticks(8).map((at) => ({ at, text: String(at) }));
  const middle = (margin.top + height - margin.bottom) / 2;
  const path = line<readonly [number, number]>()
    .x(([at]) => x(at))
    .y(([, at]) => y(at))
    .curve(curveLinear)
    .digits(1);
  const { shade } = options;
  const parts = [
    element('title', {}, escaped(options.title)),
    element('rect', { width, height, fill: '#ffffff' }),
    text(width / 2, 22, options.title, { 'font-size': 15, fill: '#1f2328' }),
    ...(shade === undefined
      ? []
      : [
          element('rect', {
            x: toRounded(x(shade.from)),
            y: margin.top,
            width: toRounded(x(shade.to) - x(shade.from)),
            height: height - margin.top - margin.bottom,
            fill: '#f6e7c1',
          }),
          text(toRounded((x(shade.from) + x(shade.to)) / 2), margin.top + 14, shade.text, {
            'font-size': 11,
          }),
        ]),
    ...y.ticks(6).flatMap((at) => {
      const place = toRounded(y(at));
      return [
        segment(margin.left, place, width - margin.right, place),
        text(margin.left - 8, place + 4, String(at), { 'text-anchor': 'end' }),
      ];
    }),
    ...xTicks.map((tick) => text(toRounded(x(tick.at)), height - margin.bottom + 18, tick.text)),
    text((margin.left + width - margin.right) / 2, height - 12, options.xLabel),
    text(18, middle, options.yLabel, { transform: `rotate(-90 18 ${middle})` }),
    ...options.series.map(({ points, colour }) =>
      element('path', { d: path(points) ?? '', fill: 'none', stroke: colour, 'stroke-width': 2 }),
    ),
    ...legend(options.series),
  ];
  const frame = {
    xmlns: 'http://www.w3.org/2000/svg',
    viewBox: `0 0 ${width} ${height}`,
    role: 'img',
    'font-family': 'system-ui, sans-serif',
    'font-size': 12,
  };
  return `${element('svg', frame, `\n${parts.join('\n')}\n`)}\n`;
}

function legend(series: readonly Series[]): readonly string[] {
  const step = (width - margin.left - margin.right) / series.length;
  return series.flatMap(({ label, colour }, i) => {
    const left = Math.round(margin.left + i * step);
    return [
      element('rect', { x: left, y: 38, width: 18, height: 4, fill: colour }),
      text(left + 24, 44, label, { 'text-anchor': 'start' }),
    ];
  });
}

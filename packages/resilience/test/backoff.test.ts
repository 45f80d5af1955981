import { describe, expect, it } from 'vitest';
import { backoffMs, parsePushback, retryAfterMs } from '../src/index.js';

const rules = { baseMs: 25, maxMs: 250 };
const highest = (): number => 1 - 1e-12;

describe('backoffMs', () => {
  it.each([
    [1, 25],
    [2, 50],
    [3, 100],
    [4, 200],
    [5, 250],
    [6, 250],
    [1000, 250],
  ])('stays, before retry %i, below %i ms', (retry, bound) => {
    expect(backoffMs(rules, retry, highest)).toBeCloseTo(bound, 6);
    expect(backoffMs(rules, retry, highest)).toBeLessThan(bound);
    expect(backoffMs(rules, retry, () => 0)).toBe(0);
    expect(backoffMs(rules, retry, () => 0.5)).toBe(bound / 2);
  });

  it('asks a function of the user', () => {
    expect(
      backoffMs(
        (retry, random) => retry * 100 + random(),
        3,
        () => 0.5,
      ),
    ).toBe(300.5);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, -5])('takes %d of a user as no wait', (ms) => {
    expect(backoffMs(() => ms, 1, Math.random)).toBe(0);
  });
});

describe('retryAfterMs', () => {
  const wallMs = Date.parse('2025-01-01T00:00:00Z');
  it.each([
    ['0', 0],
    ['2', 2000],
    ['9999999999', 9_999_999_999_000],
    ['99999999999', 99_999_999_999_000],
    ['9'.repeat(400), Number.POSITIVE_INFINITY],
    ['Wed, 01 Jan 2025 00:00:07 GMT', 7000],
    ['Tue, 31 Dec 2024 23:00:00 GMT', 0],
    ['Fri, 01 Jan 2125 00:00:00 GMT', Date.parse('2125-01-01T00:00:00Z') - wallMs],
  ])('reads "%s"', (text, ms) => {
    expect(retryAfterMs(text, wallMs)).toBe(ms);
  });

  it.each([undefined, '', ' 1', '1.5', '-1', '1e3', 'soon', '2025-01-01', 'Wed, 99 Jan 2025 99:99:99 GMT'])(
    'makes nothing of %j',
    (text) => {
      expect(retryAfterMs(text, wallMs)).toBeUndefined();
    },
  );
});

describe('parsePushback', () => {
  it.each([
    [undefined, undefined],
    ['0', 0],
    ['1500', 1500],
    ['2147483647', 2_147_483_647],
    ['2147483648', 'stop'],
    ['-1', 'stop'],
    ['abc', 'stop'],
    ['', 'stop'],
    ['1.5', 'stop'],
    [' 1', 'stop'],
  ])('reads %j as %j', (text, pushback) => {
    expect(parsePushback(text)).toBe(pushback);
  });
});

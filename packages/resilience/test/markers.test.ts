import { describe, expect, it } from 'vitest';
import { markedFrom, markerHeaders, marksOf } from '../src/index.js';
import { reply } from './support.js';

describe('marksOf', () => {
  it.each([
    [503, 'x-inmesh-nack', true, false],
    [503, 'finagle-http-nack', true, false],
    [500, 'x-inmesh-nack', false, false],
    [429, 'x-inmesh-nack', false, false],
    [503, 'x-inmesh-no-retry', false, true],
    [429, 'x-inmesh-no-retry', false, true],
    [500, 'finagle-http-nonretryable-nack', false, true],
    [404, 'x-inmesh-no-retry', false, false],
    [200, 'x-inmesh-nack', false, false],
  ])('reads %i with %s', (status, name, isNotProcessed, forbidsRetry) => {
    expect(marksOf(reply(status, { [name]: '1' }), true)).toEqual({ isNotProcessed, forbidsRetry });
  });

  it('lets the wish not to retry win over the nack', () => {
    const both = reply(503, { 'x-inmesh-nack': '1', 'x-inmesh-no-retry': '1' });
    expect(marksOf(both, true)).toEqual({ isNotProcessed: false, forbidsRetry: true });
  });

  it('believes no peer that proved nothing', () => {
    for (const name of markerHeaders)
      expect(marksOf(reply(503, { [name]: '1' }), false)).toEqual({
        isNotProcessed: false,
        forbidsRetry: false,
      });
  });

  it('names every marker for stripping, and where they begin', () => {
    expect(markerHeaders).toEqual([
      'x-inmesh-nack',
      'x-inmesh-no-retry',
      'finagle-http-nack',
      'finagle-http-nonretryable-nack',
    ]);
    expect(markedFrom).toBe(429);
  });
});

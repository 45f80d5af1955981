import { describe, expect, it } from 'vitest';
import { cleanAuthority, cleanHeaders, FlatHeaders } from '../src/index.js';

describe('an authority', () => {
  it.each([
    ['Orders', 'orders'],
    ['orders.', 'orders'],
    ['Orders.Shop.:8080', 'orders.shop:8080'],
    ['orders.shop:8080', 'orders.shop:8080'],
    ['a.b.c', 'a.b.c'],
    ['[2001:DB8::1]:80', '[2001:db8::1]:80'],
  ])('%s is %s', (given, clean) => {
    expect(cleanAuthority(given)).toBe(clean);
  });
});

describe('clean headers', () => {
  it('say the one Host, as it came', () => {
    expect(cleanHeaders(new FlatHeaders(['Accept', '*/*', 'Host', 'Orders.:80']))).toEqual({
      host: 'Orders.:80',
    });
    expect(cleanHeaders(new FlatHeaders([]))).toEqual({ host: undefined });
  });

  it('say what is ambiguous about them', () => {
    expect(cleanHeaders(new FlatHeaders(['host', 'a', 'Host', 'a']))).toEqual({
      fault: 'more than one Host',
    });
    expect(cleanHeaders(new FlatHeaders(['authorization', 'a', 'Authorization', 'b']))).toEqual({
      fault: 'more than one Authorization',
    });
  });

  it('say that the caller asks why, and no other header of ours does', () => {
    const asked = new FlatHeaders(['X-Inmesh-Explain', '1', 'x-inmesh-nack', '1']);
    expect(cleanHeaders(asked)).toEqual({ host: undefined, asksWhy: true });
    expect(asked.raw).toEqual([]);
    expect(cleanHeaders(new FlatHeaders(['x-inmesh-nack', '1']))).toEqual({ host: undefined });
  });

  it('hand on what the caller says of itself, with or without a name for it', () => {
    const named = ['x-envoy-peer-metadata', 'AA==', 'x-envoy-peer-metadata-id', 'me'];
    expect(cleanHeaders(new FlatHeaders([...named]))).toMatchObject({
      introduction: { id: 'me', text: 'AA==' },
    });
    expect(cleanHeaders(new FlatHeaders(named.slice(0, 2)))).toMatchObject({
      introduction: { id: '', text: 'AA==' },
    });
    expect(cleanHeaders(new FlatHeaders(named.slice(2)))).toEqual({ host: undefined });
  });
});

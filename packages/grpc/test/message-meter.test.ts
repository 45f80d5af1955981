import { describe, expect, it } from 'vitest';
import { FrameCounter } from '../src/message-meter.js';

/** A message of gRPC: a flag, a length, and so many bytes. */
function frame(length: number): Buffer {
  const message = Buffer.alloc(5 + length, 7);
  message.writeUInt8(0, 0);
  message.writeUInt32BE(length, 1);
  return message;
}

describe('FrameCounter', () => {
  const bytes = Buffer.concat([frame(0), frame(3), frame(300), frame(0), frame(70_000)]);

  it.each([1, 2, 3, 4, 5, 6, 7, 64, 255, 16_384, bytes.length])(
    'counts messages cut into %i bytes',
    (size) => {
      const counter = new FrameCounter();
      for (let at = 0; at < bytes.length; at += size) counter.take(bytes.subarray(at, at + size));
      expect(counter.messages).toBe(5);
    },
  );

  it('counts one whose prefix came, and none whose prefix is cut', () => {
    const counter = new FrameCounter();
    counter.take(frame(10).subarray(0, 4));
    expect(counter.messages).toBe(0);
    counter.take(frame(10).subarray(4, 6));
    expect(counter.messages).toBe(1);
  });
});

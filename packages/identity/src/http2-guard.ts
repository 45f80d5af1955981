import { constants, type Http2Session, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';

const leaving = new WeakSet<Http2Session>();

/** An error of nghttp2 or of the socket: nothing is read after it. */
function endsReading(error: unknown): boolean {
  return error instanceof Error && 'errno' in error;
}

/**
 * Keeps node:http2 from ending a session while it reads from it, which it does for a GOAWAY of the client, and for
 * handlers that ask for it. What stands behind that in the same bytes would end the process: on Node 20 a request after
 * `close` overwrites memory that is free already, on Node 22.23, 26.8 and 26.9 the body of one after `destroy` aborts.
 *
 * GOAWAY is sent at once all the same; requests that come before it is on its way are refused, see {@link isLost}.
 *
 * @see {@link https://github.com/nodejs/node/issues/64850 | nodejs/node#64850}
 */
export function guardHttp2(session: ServerHttp2Session): void {
  const close = session.close.bind(session);
  const destroy = session.destroy.bind(session);
  const closeLater = (done?: () => void): void => {
    if (session.closed || session.destroyed) return;
    if (!leaving.has(session)) {
      leaving.add(session);
      session.goaway(constants.NGHTTP2_NO_ERROR);
    }
    // By then GOAWAY was written, or waits for what is being written.
    setImmediate(() => close(done));
  };
  const destroyLater = (error?: Error, code?: number): void => {
    if (session.destroyed) return;
    leaving.add(session);
    if (endsReading(error)) destroy(error, code);
    else setImmediate(() => destroy(error, code));
  };
  session.close = closeLater;
  session.destroy = destroyLater;
}

/**
 * Whether a stream must not be answered: its client reset it in the bytes that it came in, as node tells of a stream later
 * than it reads it, and to answer may throw; or its session was ended before node told of it. Then it is refused: no
 * handler saw it, and whoever sent it may send it elsewhere.
 */
export function isLost(stream: ServerHttp2Stream): boolean {
  const { session } = stream;
  if (stream.destroyed || stream.closed || session === undefined) return true;
  if (!leaving.has(session)) return false;
  setImmediate(() => stream.close(constants.NGHTTP2_REFUSED_STREAM));
  return true;
}

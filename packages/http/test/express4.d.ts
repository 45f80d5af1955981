/** Express 4 under another name, beside Express 5; typed as far as it is used here. */
declare module 'express4' {
  export default function express4(): {
    get(
      path: string,
      handler: (
        request: import('node:http').IncomingMessage & { url: string },
        response: { json(value: unknown): void },
      ) => void,
    ): unknown;
  };
}

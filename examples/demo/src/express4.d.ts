/** Express 4 under another name, beside Express 5; typed as far as it is used here. */
declare module 'express4' {
  export default function express4(): { readonly get: unknown };
}

// Waiting with an end: nothing in these tests waits without a limit and a sentence that says what for.

/** How long an answer may take, in ms. A debug build on a busy machine answers in a tenth of it. */
export const PATIENCE = 8_000;

/** Settles as `promise` does, or fails after `ms` with what `describe()` says at that moment. */
export function within(ms, promise, describe) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${describe()}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Time itself, for the few rules that are about time. */
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let counter = 0;

/** A name that no other test of this process uses. */
export const unique = (stem) => `${stem}-${++counter}`;

/** A number that no other test of this process uses. */
export const uniqueNumber = () => 1_000 + ++counter;

/** Shortens a value for a failure message. */
export function brief(value, limit = 300) {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  return text.length > limit ? `${text.slice(0, limit)}… (${text.length} characters)` : text;
}

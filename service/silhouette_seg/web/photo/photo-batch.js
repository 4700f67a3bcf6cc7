/** The chosen photos: sends them with the same options, and keeps their results. */

import { segment } from "../api/client.js";
import { asProblem } from "../ui/problem-card.js";
import { requestParameters } from "./photo-options.js";

/** Photos that are sent at the same time. One is decoded and encoded while the other is segmented. */
const PARALLEL_REQUESTS = 2;
const UNAUTHORIZED = 401;

/**
 * One photo of a batch. The result belongs to the newest options; it is null until it has arrived.
 *
 * @typedef {object} Entry
 * @property {File} photo
 * @property {"waiting" | "working" | "done" | "failed"} state
 * @property {{blob: Blob, headers: Headers, roundTripMs: number, options: object} | null} result
 * @property {import("../api/problem.js").Problem | null} problem
 */

export class PhotoBatch {
  /** @type {Entry[]} */
  entries;
  /** The entry that the page shows. It is sent before the others. */
  current;
  #onChange;
  #request = new AbortController();

  /**
   * @param {File[]} photos  at least one
   * @param {(entry: Entry) => void} onChange  called for each new state of an entry
   */
  constructor(photos, onChange) {
    this.entries = photos.map((photo) => ({ photo, state: "waiting", result: null, problem: null }));
    [this.current] = this.entries;
    this.#onChange = onChange;
  }

  /** Sends all photos with new options. Results of earlier options are discarded. */
  send(options, key) {
    this.discardResults();
    this.#sendWaiting(options, key);
  }

  /** Sends the photos that have failed again. */
  retry(options, key) {
    for (const entry of this.entries) if (entry.state === "failed") this.#update(entry, "waiting");
    this.#sendWaiting(options, key);
  }

  /** Aborts the requests, and discards all results. */
  discardResults() {
    this.#request.abort();
    for (const entry of this.entries) this.#update(entry, "waiting");
  }

  /** Returns the number of entries in a state. */
  count(state) {
    return this.entries.filter((entry) => entry.state === state).length;
  }

  /** True once every photo has a result or a problem. */
  get isFinished() {
    return this.count("done") + this.count("failed") === this.entries.length;
  }

  #sendWaiting(options, key) {
    const request = (this.#request = new AbortController());
    const sendNext = async () => {
      for (let entry; !request.signal.aborted && (entry = this.#nextWaiting()); ) {
        await this.#segment(entry, options, { key, request });
      }
    };
    for (let started = 0; started < PARALLEL_REQUESTS; started += 1) sendNext();
  }

  #nextWaiting() {
    const waiting = this.entries.filter(({ state }) => state === "waiting");
    return waiting.includes(this.current) ? this.current : waiting[0];
  }

  async #segment(entry, options, { key, request }) {
    const { signal } = request;
    this.#update(entry, "working");
    try {
      const result = await segment(entry.photo, requestParameters(options), { key, signal });
      if (!signal.aborted) this.#update(entry, "done", { result: { ...result, options } });
    } catch (error) {
      if (signal.aborted) return;
      const problem = asProblem(error);
      if (problem.status === UNAUTHORIZED) request.abort(); // the other photos need the key, too
      this.#update(entry, "failed", { problem });
    }
  }

  #update(entry, state, { result = null, problem = null } = {}) {
    Object.assign(entry, { state, result, problem });
    this.#onChange(entry);
  }
}

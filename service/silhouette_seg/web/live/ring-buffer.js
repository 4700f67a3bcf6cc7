/** Keeps the newest `capacity` numbers. */
export class RingBuffer {
  #capacity;
  #values = [];

  constructor(capacity) { this.#capacity = capacity; }

  push(value) {
    this.#values.push(value);
    if (this.#values.length > this.#capacity) this.#values.shift();
  }

  get values() { return [...this.#values]; }
}

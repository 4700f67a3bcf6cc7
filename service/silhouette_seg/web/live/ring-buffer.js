/** Buffer that holds the newest `capacity` numbers; an older number is dropped. */
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

/** The newest `most` numbers. */
export class Recent {
  #most;
  #values = [];

  constructor(most) { this.#most = most; }

  add(value) {
    this.#values.push(value);
    if (this.#values.length > this.#most) this.#values.shift();
  }

  get values() { return [...this.#values]; }
}

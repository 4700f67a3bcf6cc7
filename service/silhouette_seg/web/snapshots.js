const QUALITY = 0.8;

/**
 * JPEGs of a playing video: one at a time, always of the newest picture, as often as `wanted`
 * says so. A picture that nobody wanted waits for no one; `heldBack` counts them.
 */
export class Snapshots {
  heldBack = 0;
  #canvas = document.createElement("canvas");
  #video;
  #wanted;
  #taken;
  #running = false;
  #busy = false;
  #missed = false; // a picture came that was not taken, and it is still the newest

  /**
   * @param {HTMLVideoElement} video
   * @param {{wanted: () => boolean, taken: (jpeg: Blob, atMs: number) => void}} callbacks
   */
  constructor(video, { wanted, taken }) {
    this.#video = video;
    this.#wanted = wanted;
    this.#taken = taken;
  }

  start() {
    this.#running = true;
    this.#await();
  }

  stop() { this.#running = false; }

  /** Something changed that may make a picture wanted. */
  nudge() {
    if (!this.#running || !this.#missed || this.#busy || !this.#wanted()) return;
    this.heldBack -= 1;
    this.#take();
  }

  #await() {
    const video = this.#video;
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(() => this.#arrived());
    else requestAnimationFrame(() => this.#arrived());
  }

  #arrived() {
    if (!this.#running) return;
    this.#await();
    if (!this.#busy && this.#wanted()) this.#take();
    else { this.heldBack += 1; this.#missed = true; }
  }

  #take() {
    const atMs = performance.now();
    this.#busy = true;
    this.#missed = false;
    this.#canvas.width = this.#video.videoWidth;
    this.#canvas.height = this.#video.videoHeight;
    this.#canvas.getContext("2d").drawImage(this.#video, 0, 0);
    this.#canvas.toBlob((jpeg) => {
      this.#busy = false;
      if (!this.#running) return;
      if (jpeg) this.#taken(jpeg, atMs);
      this.nudge();
    }, "image/jpeg", QUALITY);
  }
}

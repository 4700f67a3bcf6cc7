const JPEG_QUALITY = 0.8;

/**
 * Encodes frames of a playing video as JPEG files, one at a time and always the newest, and passes
 * them to `onFrame`. A frame is dropped while `isReady` returns false; `dropped` counts those frames.
 */
export class FrameGrabber {
  dropped = 0;
  #canvas = document.createElement("canvas");
  #video;
  #isReady;
  #onFrame;
  #running = false;
  #encoding = false;
  #hasUnsentFrame = false; // the newest frame was dropped

  /**
   * @param {HTMLVideoElement} video
   * @param {{isReady: () => boolean, onFrame: (jpeg: Blob, grabbedMs: number) => void}} callbacks
   */
  constructor(video, { isReady, onFrame }) {
    this.#video = video;
    this.#isReady = isReady;
    this.#onFrame = onFrame;
  }

  start() {
    this.#running = true;
    this.#requestFrame();
  }

  stop() { this.#running = false; }

  /** Grabs the newest frame if it was dropped and `isReady` has become true. */
  retry() {
    if (!this.#running || !this.#hasUnsentFrame || this.#encoding || !this.#isReady()) return;
    this.dropped -= 1;
    this.#grab();
  }

  #requestFrame() {
    const video = this.#video;
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(() => this.#handleFrame());
    else requestAnimationFrame(() => this.#handleFrame());
  }

  #handleFrame() {
    if (!this.#running) return;
    this.#requestFrame();
    if (!this.#encoding && this.#isReady()) this.#grab();
    else { this.dropped += 1; this.#hasUnsentFrame = true; }
  }

  #grab() {
    const grabbedMs = performance.now();
    this.#encoding = true;
    this.#hasUnsentFrame = false;
    this.#canvas.width = this.#video.videoWidth;
    this.#canvas.height = this.#video.videoHeight;
    this.#canvas.getContext("2d").drawImage(this.#video, 0, 0);
    this.#canvas.toBlob((jpeg) => {
      this.#encoding = false;
      if (!this.#running) return;
      if (jpeg) this.#onFrame(jpeg, grabbedMs);
      this.retry();
    }, "image/jpeg", JPEG_QUALITY);
  }
}

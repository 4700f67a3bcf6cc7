import { problemOfClose } from "./closing.js";
import { changed } from "./live-options.js";
import { Problem } from "./problem.js";
import { Recent } from "./recent.js";
import { Snapshots } from "./snapshots.js";
import { frameHeader, Kind, readMessage, readResult, SUBPROTOCOL } from "./wire.js";

const READY_MS = 10_000;
const RECENT = 100;

/**
 * Live video over a WebSocket: JPEGs there, JPEGs back. The server says by its credits how many
 * may be under way; between them the camera's pictures are left out, and the newest goes next.
 * The methods and the three `on…` are those of RtcStream too.
 */
export class SocketStream {
  measures = "Round trip: from taking the camera's picture to drawing its result, JPEG coding included.";
  view = document.createElement("canvas");
  onframe = () => {};
  /** Something went wrong that does not end the stream. */
  onnotice = () => {};
  /** It is over, and not because of `stop`. */
  onclose = () => {};

  #key;
  #socket = null;
  #options = {};
  #snapshots = null;
  #ready = false;
  #credits = 0;
  #seq = 0;
  #drawn = -1;
  #failing = false;
  #counts = { shown: 0, skipped: 0, sentBytes: 0, receivedBytes: 0 };
  #sizes = { sentSize: null, receivedSize: null };
  #roundTrips = new Recent(RECENT);
  #serverTimes = new Recent(RECENT);

  constructor(key) { this.#key = key; }

  /**
   * @param {HTMLVideoElement} video  plays the camera
   * @param {object} options  of live-options.js
   * @throws {Problem}
   */
  start(video, options) {
    this.#options = options;
    this.#snapshots = new Snapshots(video, {
      wanted: () => this.#credits > 0 && this.#socket.bufferedAmount === 0,
      taken: (jpeg, atMs) => this.#send(jpeg, atMs, video),
    });
    return new Promise((resolve, reject) => this.#open(resolve, reject));
  }

  configure(options) {
    const news = changed(this.#options, options);
    this.#options = options;
    if (this.#ready && news) this.#tell(news);
  }

  stop() {
    this.#snapshots?.stop();
    if (!this.#socket) return;
    this.#socket.onclose = this.#socket.onmessage = null;
    this.#socket.close(1000);
  }

  async stats() {
    return {
      ...this.#counts, ...this.#sizes,
      roundTripsMs: this.#roundTrips.values, serverMs: this.#serverTimes.values,
      heldBack: this.#snapshots.heldBack,
    };
  }

  #open(resolve, reject) {
    const url = new URL("v1/stream", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = (this.#socket = new WebSocket(url, SUBPROTOCOL));
    const late = setTimeout(() => {
      this.stop();
      reject(new Problem({ title: "The server does not answer", retryable: true }));
    }, READY_MS);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#tell({ ...(this.#key && { key: this.#key }), format: "jpeg", ...this.#options });
    socket.onclose = (event) => {
      clearTimeout(late);
      this.#snapshots.stop();
      const problem = problemOfClose(event, this.#ready);
      if (this.#ready) this.onclose(problem);
      else reject(problem);
    };
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") return this.#receive(data);
      const message = JSON.parse(data);
      if (message.type === "error") this.onnotice(message.detail);
      if (message.type !== "ready" || this.#ready) return;
      clearTimeout(late);
      this.#ready = true;
      this.#credits = message.credits;
      this.#snapshots.start();
      resolve();
    };
  }

  /** Between the server's close frame and `onclose` nothing can be sent, and browsers complain. */
  get #takes() { return this.#socket.readyState === WebSocket.OPEN; }

  #tell(options) {
    if (this.#takes) this.#socket.send(JSON.stringify({ type: "config", ...options }));
  }

  #send(jpeg, atMs, video) {
    if (!this.#takes) return;
    this.#socket.send(new Blob([frameHeader(this.#seq, atMs), jpeg]));
    this.#seq = (this.#seq + 1) % 2 ** 32;
    this.#credits -= 1;
    this.#counts.sentBytes += jpeg.size;
    this.#sizes.sentSize = { width: video.videoWidth, height: video.videoHeight };
  }

  #receive(data) {
    const message = readMessage(data);
    this.#credits += 1;
    if (message.kind === Kind.SKIPPED) this.#counts.skipped += 1;
    if (message.kind === Kind.ERROR) this.#complain(message.body);
    if (message.kind === Kind.RESULT) this.#draw(message);
    this.#snapshots.nudge();
  }

  /** Once for a row of failures, not thirty times a second. */
  #complain(body) {
    if (!this.#failing) this.onnotice(JSON.parse(new TextDecoder().decode(body)).detail);
    this.#failing = true;
  }

  async #draw({ seq, sentMs, body }) {
    const { width, height, serverMs, picture } = readResult(body);
    this.#failing = false;
    this.#counts.receivedBytes += picture.byteLength;
    this.#serverTimes.add(serverMs);
    const bitmap = await createImageBitmap(new Blob([picture]));
    if (seq <= this.#drawn) return bitmap.close(); // decoded after a newer one
    this.#drawn = seq;
    if (this.view.width !== width || this.view.height !== height) Object.assign(this.view, { width, height });
    this.view.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    this.#sizes.receivedSize = { width, height };
    this.#counts.shown += 1;
    this.#roundTrips.add(performance.now() - sentMs);
    this.onframe();
  }
}

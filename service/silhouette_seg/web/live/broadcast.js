/** The page `/live`: the camera with another background, without controls, for OBS. */

import { asProblem } from "../ui/problem-card.js";
import { readBroadcastOptions } from "./broadcast-options.js";
import { cameraEnded, closeCamera, openNamedCamera } from "./camera.js";
import { WebRTCStream } from "./webrtc-stream.js";
import { WebSocketStream } from "./websocket-stream.js";

/** Milliseconds after which a stream that ended is started again. */
const RESTART_MS = 3000;
const TRANSPORTS = { websocket: WebSocketStream, webrtc: WebRTCStream };

const result = document.getElementById("result");
const preview = document.getElementById("camera");
const message = document.getElementById("message");

let stream = null;

async function start() {
  try {
    const options = readBroadcastOptions(new URL(location.href));
    document.body.classList.toggle("mirrored", options.mirror);
    const session = (stream = new TRANSPORTS[options.transport](options.key));
    session.onframe = () => { if (stream === session && !session.view.isConnected) show(session.view); };
    session.onnotice = (text) => { message.textContent = text; };
    session.onclose = (problem) => { if (stream === session) fail(problem); };
    const camera = await openNamedCamera(options.camera);
    camera.getVideoTracks()[0].onended = () => { if (stream === session) fail(cameraEnded()); };
    preview.srcObject = camera;
    await preview.play();
    await session.start(preview, options.stream);
  } catch (error) {
    fail(error);
  }
}

function show(view) {
  view.setAttribute("role", "img");
  view.setAttribute("aria-label", "The camera with another background");
  result.replaceChildren(view);
  message.textContent = "";
}

function stop() {
  stream?.stop();
  stream = null;
  closeCamera(preview.srcObject);
  preview.srcObject = null;
  result.replaceChildren();
}

function fail(error) {
  const problem = asProblem(error);
  stop();
  message.textContent = [problem.title, problem.detail].filter(Boolean).join(". ");
  if (problem.retryable) setTimeout(start, RESTART_MS);
}

addEventListener("pagehide", stop);
start();

/** The strip below the stage: one button per photo of a batch, with its result as a thumbnail. */

import { foregroundOf } from "./result-facts.js";

const THUMBNAIL_HEIGHT = 96; // in pixels of the canvas, twice those of the page
const STATE_LABELS = { waiting: "Waiting", working: "Processing", failed: "No result" };

/**
 * @param {{card: HTMLElement, list: HTMLElement, status: HTMLElement, download: HTMLButtonElement}} elements
 * @param {(entry: import("./photo-batch.js").Entry) => void} onSelect
 */
export function resultStrip({ card, list, status, download }, onSelect) {
  let buttons = new Map(); // by entry

  const showCounts = (batch) => {
    const failed = batch.count("failed");
    const counts = `${batch.count("done")} of ${batch.entries.length} done`;
    status.textContent = failed ? `${counts}, ${failed} without a result` : counts;
    download.disabled = !batch.isFinished || batch.count("done") === 0;
    card.dataset.state = batch.isFinished ? "done" : "working";
  };

  return {
    /** Shows the entries of a new batch. A single photo needs no strip. */
    show(batch) {
      buttons = new Map(batch.entries.map((entry) => [entry, entryButton(entry, onSelect)]));
      list.replaceChildren(...[...buttons.values()].map(listItem));
      card.hidden = batch.entries.length < 2;
      for (const entry of batch.entries) this.update(batch, entry);
    },

    /** Shows the new state of an entry, and which entry is current. */
    update(batch, entry) {
      if (card.hidden) return;
      const button = buttons.get(entry);
      button.dataset.state = entry.state;
      button.querySelector(".thumb-state").textContent = STATE_LABELS[entry.state] ?? resultLabel(entry.result);
      button.title = entry.problem ? entry.problem.title : entry.photo.name;
      if (entry.result) drawThumbnail(button.querySelector("canvas"), entry);
      for (const [other, otherButton] of buttons) otherButton.setAttribute("aria-pressed", String(other === batch.current));
      showCounts(batch);
    },
  };
}

function resultLabel({ headers }) {
  const { found, doubtful } = foregroundOf(headers);
  if (!found) return "No person";
  return doubtful ? "Perhaps a person" : "Done";
}

function entryButton(entry, onSelect) {
  const button = document.createElement("button");
  const canvas = Object.assign(document.createElement("canvas"), { width: THUMBNAIL_HEIGHT, height: THUMBNAIL_HEIGHT });
  const name = Object.assign(document.createElement("span"), { className: "thumb-name", textContent: entry.photo.name });
  const state = Object.assign(document.createElement("span"), { className: "thumb-state" });
  button.type = "button";
  button.className = "thumb";
  button.append(canvas, name, state);
  button.addEventListener("click", () => onSelect(entry));
  return button;
}

function listItem(button) {
  const item = document.createElement("li");
  item.append(button);
  return item;
}

async function drawThumbnail(canvas, entry) {
  const { result } = entry;
  const options = { resizeHeight: THUMBNAIL_HEIGHT, resizeQuality: "medium" };
  const bitmap = await createImageBitmap(result.blob, options).catch(() => null);
  // Null: this browser cannot show the format. Another result: the options changed meanwhile.
  if (!bitmap || entry.result !== result) return;
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
}

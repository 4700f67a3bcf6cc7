/** The page of the models: shows `GET /v1/models` as cards and tables. */

import { fetchModels } from "./api/client.js";
import { showFacts } from "./ui/fact-list.js";
import { keyForm } from "./ui/key-form.js";
import { asProblem } from "./ui/problem-card.js";

const byId = (id) => document.getElementById(id);
const key = keyForm({ form: byId("key-form"), input: byId("key"), hint: byId("key-hint") });

const number = (value) => String(value);
const percent = (value) => value.toFixed(1);
const share = (value) => percent(100 * value);

/** Columns of the table of scores: name of the metric, heading, and format of its values. */
const METRICS = [
  ["photos", "Photos", number],
  ["miou_image_mean", "Mean IoU, %", percent],
  ["iou_fg_image_mean", "Person IoU, %", percent],
  ["pixel_accuracy", "Pixels, %", percent],
  ["recall", "Recall, %", share],
  ["precision", "Precision, %", share],
];

async function load() {
  byId("auto").textContent = "Loading the models.";
  try {
    const { auto, models } = await fetchModels(key.value);
    byId("models").replaceChildren(...models.map((model) => card(model, model.name === auto)));
    byId("auto").textContent = `Photos are segmented by ${auto} unless a request names another model.`;
  } catch (error) {
    if (error.status === 401) key.prompt();
    byId("auto").textContent = asProblem(error).title;
  }
}

function card(model, isDefault) {
  const list = element("dl");
  list.className = "facts";
  showFacts(list, [
    ["Task", model.task === "faces" ? "Face detection, for the service itself" : "Segmentation"],
    ["State", model.ready ? "Ready" : "Not ready"],
    ["Input", `${model.width} × ${model.height} pixels, ${model.inputs.join(", ")}`],
    ["Version", String(model.version)],
    ["Runs on", model.provider],
    ["Precision, largest batch", `${model.precision}, ${model.max_batch}`],
    ["Training run", model.run],
    ["Digest", model.digest],
  ]);
  const heading = element("h2", model.name);
  if (isDefault) heading.append(element("span", "Default for photos"));
  const article = element("article");
  article.className = "model card";
  const licence = element("p", model.licence);
  licence.className = "hint";
  article.append(heading, list, ...scores(model), licence);
  return article;
}

/** Returns the table of scores of a model, or nothing if it has none of these metrics. */
function scores({ name, metrics }) {
  const rows = Object.entries(metrics);
  const columns = METRICS.filter(([metric]) => rows.some(([, values]) => metric in values));
  if (!columns.length) return [];
  const table = element("table");
  table.append(element("caption", "Scores by source of the photos"));
  const head = table.createTHead().insertRow();
  for (const label of ["Data", ...columns.map(([, heading]) => heading)]) head.append(headerCell(label, "col"));
  const body = table.createTBody();
  for (const [data, values] of rows) {
    const row = body.insertRow();
    row.append(headerCell(data, "row"));
    for (const [metric, , format] of columns) {
      row.insertCell().textContent = metric in values ? format(values[metric]) : "";
    }
  }
  const frame = element("div");
  frame.className = "scores";
  frame.tabIndex = 0; // narrow screens scroll the table, also with the keyboard
  frame.role = "region";
  frame.ariaLabel = `Scores of ${name}`;
  frame.append(table);
  return [frame];
}

function headerCell(text, scope) {
  const cell = element("th", text);
  cell.scope = scope;
  return cell;
}

function element(name, text = "") {
  const created = document.createElement(name);
  created.textContent = text;
  return created;
}

key.onSubmit(load);
load();

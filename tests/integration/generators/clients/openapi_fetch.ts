// Uses openapi-fetch with the types of openapi-typescript. Arguments: address, photo, folder.
import { readFileSync, writeFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { components, paths } from "./generated";

const [url, photo, folder] = process.argv.slice(2) as [string, string, string];

/** Binary strings of the document are files in a browser. */
const asText = (file: File): string => file as unknown as string;

function asForm(fields: object): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields))
    for (const item of Array.isArray(value) ? value : [value]) form.append(name, item as string | Blob);
  return form;
}

function save(name: string, blob: ArrayBuffer | undefined): void {
  if (!blob) throw new Error(`${name}: no result`);
  writeFileSync(`${folder}/${name}`, Buffer.from(blob));
}

async function main(): Promise<void> {
  const client = createClient<paths>({ baseUrl: url });
  const file = new File([readFileSync(photo)], "photo.png", { type: "image/png" });
  const image = asText(file);
  const binary = { bodySerializer: asForm, parseAs: "arrayBuffer" } as const;

  save("mask", (await client.POST("/v1/segment", { body: { image }, ...binary })).data);
  const cutout = { image, output: "cutout" } as const;
  save("cutout", (await client.POST("/v1/segment", { body: cutout, ...binary })).data);
  const bytes = {
    body: image,
    bodySerializer: () => file,
    headers: { "Content-Type": "application/octet-stream" },
    parseAs: "arrayBuffer",
  } as const;
  save("binary", (await client.POST("/v1/segment/binary", bytes)).data);
  const photos = { image: [image, image] };
  save("batch", (await client.POST("/v1/segment/batch", { body: photos, ...binary })).data);

  const refused = { image, background: "#20639b" };
  const { error } = await client.POST("/v1/segment", { body: refused, bodySerializer: asForm });
  const problem: components["schemas"]["Problem"] | undefined = error;
  writeFileSync(`${folder}/problem`, JSON.stringify(problem));

  const report = await client.POST("/v1/segment/report", { body: { image }, bodySerializer: asForm });
  if (report.data?.image.width !== report.data?.photo.width) throw new Error("another size");
}

main().catch((error) => { console.error(error); process.exit(1); });

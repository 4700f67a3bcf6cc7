// Uses the client that openapi-generator generates for fetch. Arguments: address, photo, folder.
import { readFileSync, writeFileSync } from "node:fs";
import { Configuration, ResponseError, SegmentApi, SegmentOutputEnum } from "./generated";

const [url, photo, folder] = process.argv.slice(2) as [string, string, string];

async function main(): Promise<void> {
  const api = new SegmentApi(new Configuration({ basePath: url }));
  const image = new File([readFileSync(photo)], "photo.png", { type: "image/png" });
  const save = async (name: string, blob: Blob): Promise<void> =>
    writeFileSync(`${folder}/${name}`, Buffer.from(await blob.arrayBuffer()));

  await save("mask", await api.segment({ image }));
  await save("cutout", await api.segment({ image, output: SegmentOutputEnum.Cutout }));
  await save("binary", await api.segmentBinary({ body: image }));
  await save("batch", await api.segmentBatch({ image: [image, image] }));
  try {
    await api.segment({ image, background: "#20639b" });
  } catch (error) {
    if (!(error instanceof ResponseError)) throw error;
    writeFileSync(`${folder}/problem`, await error.response.text());
  }
  const report = await api.segmentReport({ image });
  if (report.image.width !== report.photo.width) throw new Error("the result has another size");
}

main().catch((error) => { console.error(error); process.exit(1); });

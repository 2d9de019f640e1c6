// After esbuild: the licences of what went in, and the digests that a test compares.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

const { dependencies } = JSON.parse(readFileSync("package.json", "utf8"));
const texts = Object.keys(dependencies).sort().map((name) => {
  const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
  const licence = readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim();
  return `${name} ${version}\n\n${licence}\n`;
});
writeFileSync("LICENCES.txt", texts.join("\n----\n\n"));
const files = ["LICENCES.txt", "entry.js", "finish.js", "package-lock.json", "package.json", "vendor.js"];
const digest = (name) => createHash("sha256").update(readFileSync(name)).digest("hex");
writeFileSync("SHA256SUMS", files.map((name) => `${digest(name)}  ${name}\n`).join(""));

// How every judge of this folder is asked: one JSON object a line on standard input, and for each
// one JSON string a line on standard output: empty where the judge accepts, else its reason.
// A judge throws Refused; anything else that is thrown (a line that is no case, a kind that it
// was not made for, a library that is not there) ends the program with status 2, so that no
// fault of ours is a refusal.
import { readFileSync } from "node:fs";

export class Refused extends Error {}

export function each(judges) {
  const answers = [];
  try {
    for (const line of readFileSync(0, "utf-8").split("\n").filter(Boolean)) {
      const asked = JSON.parse(line);
      if (!Object.hasOwn(judges, asked.Kind)) throw new Error(`not a judge of ${asked.Kind}`);
      answers.push(JSON.stringify(verdict(judges[asked.Kind], asked)));
    }
  } catch (error) {
    console.error(error);
    process.exit(2);
  }
  process.stdout.write(answers.map((answer) => answer + "\n").join(""));
}

function verdict(judge, asked) {
  try {
    judge(asked);
  } catch (error) {
    if (error instanceof Refused) return error.message || "refused";
    throw error;
  }
  return "";
}

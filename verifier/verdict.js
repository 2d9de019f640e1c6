// What verification says: a class, a code, the checks one by one (notary/verdict.py).

export const EXIT_STATUS = {
  confirmed: 0, not_this_file: 1, not_genuine: 1, undecided: 2, superseded: 3,
};

/** Ends an examination with a verdict on the certificate itself. */
export class Stop extends Error {
  constructor(verdict, code) {
    super(code);
    this.verdict = verdict;
    this.code = code;
  }
}

/** The checks so far, in order. `fail` and `leave` give what to throw where they end it all. */
export class Checks {
  constructor() {
    this.made = [];
  }

  pass(name, detail = "") {
    this.made.push({ name, status: "passed", code: null, detail });
  }

  fail(name, code, error) {
    this.made.push({ name, status: "failed", code, detail: error.message });
    return new Stop("not_genuine", code);
  }

  leave(name, code, detail) {
    this.made.push({ name, status: "not_made", code, detail });
    return new Stop("undecided", code);
  }
}

/** Whether `error` is of one of the kinds; any other is passed on. */
export function only(error, ...kinds) {
  if (!kinds.some((kind) => error instanceof kind)) throw error;
  return error;
}

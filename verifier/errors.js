// What a check can end in, other than holding. The kinds are those of notary/errors.py.

export class Refusal extends Error {}

/** The bytes are not what they claim to be. */
export class Malformed extends Refusal {}

/** Tested, and does not hold. */
export class Broken extends Refusal {}

/** Cannot be tested: an unknown key, a newer format, an algorithm not known here. `code` says which
 *  where that is told apart. */
export class Unverifiable extends Refusal {
  constructor(message, code = null) {
    super(message);
    this.code = code;
  }
}

/** A certificate of a version that is not known here. */
export class UnsupportedFormat extends Refusal {}

/** Bytes that hold no certificate in its one form. */
export class Unreadable extends Refusal {}

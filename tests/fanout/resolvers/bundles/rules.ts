import { util } from '@aws-appsync/utils';

/** Longest content of a message. */
export const MAX_LENGTH = 2_000;

const SPACES = /\s+/g; // not "import x from 'y'"
const QUOTED = /["'`\/]/;

export class Rule {
  static readonly names: string[] = [];
  constructor(readonly name: string, private readonly holds: (text: string) => boolean) {
    Rule.names.push(name);
  }
  check(text: string): void {
    if (!this.holds(text)) util.error(`"${text.slice(0, 10)}" breaks ${`the rule ${this.name}`}`, 'Invalid');
  }
}

export const squeeze = (text: string): string => text.trim().replace(SPACES, ' ');
export const share = (text: string): number => (text.length ? text.split(QUOTED).length / text.length / 2 : 0);
export const RULES = [
  new Rule('not empty', (text) => text !== ''),
  new Rule('not too long', (text) => text.length <= MAX_LENGTH),
];

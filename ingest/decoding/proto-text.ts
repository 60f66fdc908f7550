/**
 * A .proto file as far as a reader needs it: which fields a message has, and of what type. Services, extensions,
 * reserved ranges and options other than those that decide about presence are passed over. The registry has compiled
 * the file before; what could not be compiled need not be found out here.
 */
import {
  PROTO_SCALARS,
  type ProtoEnum,
  type ProtoField,
  type ProtoFile,
  type ProtoMessage,
} from './proto-file.ts';

/** The text is no .proto file that can be read. Never retryable. */
export class ProtoSyntaxError extends Error {
  override readonly name = 'ProtoSyntaxError';
}

const TOKEN =
  /\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/|("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[A-Za-z_][A-Za-z0-9_]*|[0-9][A-Za-z0-9_.+-]*|[^\s])/y;

function tokens(text: string): string[] {
  const found: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text)!;
    if (match[1] !== undefined) found.push(match[1]);
  }
  return found;
}

const SCALARS: ReadonlySet<string> = new Set(PROTO_SCALARS);
const PRESENCE_OPTION = 'features.field_presence';

/** A field before all types are known. */
interface Draft extends Omit<ProtoField, 'type' | 'kind' | 'presence'> {
  readonly typeText: string;
  readonly kind: 'map' | 'group' | null;
  readonly label: 'optional' | 'required' | 'repeated' | null;
  readonly inOneof: boolean;
  /** Of the editions' option on the field itself. */
  readonly featurePresence: string | null;
}

interface DraftMessage {
  readonly fullName: string;
  readonly drafts: Draft[];
  readonly nested: DraftMessage[];
}

/** @param known full names of the messages and enums of the imported files */
export function parseProto(text: string, known: ReadonlySet<string> = new Set()): ProtoFile {
  return new Parser(tokens(text), known).file();
}

class Parser {
  readonly #tokens: readonly string[];
  #at = 0;
  readonly #enums: ProtoEnum[] = [];
  readonly #names: Set<string>;
  #package = '';
  #syntax = 'proto2';
  #filePresence = 'EXPLICIT';

  constructor(tokens: readonly string[], known: ReadonlySet<string>) {
    this.#tokens = tokens;
    this.#names = new Set(known);
  }

  file(): ProtoFile {
    const drafts: DraftMessage[] = [];
    while (this.#at < this.#tokens.length) {
      const token = this.#next();
      switch (token) {
        case ';':
          break;
        case 'syntax':
        case 'edition': {
          this.#expect('=');
          const value = unquoted(this.#next());
          this.#syntax = token === 'edition' ? 'edition' : value;
          this.#expect(';');
          break;
        }
        case 'package':
          this.#package = this.#name();
          this.#expect(';');
          break;
        case 'option': {
          const [name, value] = this.#option();
          if (name === PRESENCE_OPTION) this.#filePresence = value;
          this.#expect(';');
          break;
        }
        case 'message':
          drafts.push(this.#message(this.#package));
          break;
        case 'enum':
          this.#enum(this.#package);
          break;
        default:
          // import, extend, service; `export` and `local` only say who may see what follows.
          if (token !== 'export' && token !== 'local') this.#passStatement();
      }
    }
    return { messages: drafts.map((draft) => this.#finished(draft)), enums: this.#enums };
  }

  #message(scope: string): DraftMessage {
    return this.#body(join(scope, this.#next()));
  }

  #body(fullName: string): DraftMessage {
    const message: DraftMessage = { fullName, drafts: [], nested: [] };
    this.#names.add(fullName);
    this.#expect('{');
    this.#members(message, false);
    return message;
  }

  /** Up to the closing brace. */
  #members(message: DraftMessage, inOneof: boolean): void {
    for (;;) {
      const token = this.#next();
      if (token === '}') return;
      if (token === ';') continue;
      const after = this.#peek();
      // `message`, `option` and the like may also be the first part of a type's name; none is followed by these.
      const keyword = after !== '.';
      if (keyword && token === 'message') message.nested.push(this.#message(message.fullName));
      else if (keyword && token === 'enum') this.#enum(message.fullName);
      else if (keyword && token === 'oneof' && !inOneof) {
        this.#next();
        this.#expect('{');
        this.#members(message, true);
      } else if (keyword && token === 'option') {
        this.#option();
        this.#expect(';');
      } else if (keyword && ['reserved', 'extensions', 'extend'].includes(token)) this.#passStatement();
      else if (keyword && ['export', 'local'].includes(token)) continue;
      else this.#field(token, message, inOneof);
    }
  }

  #field(first: string, message: DraftMessage, inOneof: boolean): void {
    let token = first;
    let label: Draft['label'] = null;
    if ((token === 'optional' || token === 'required' || token === 'repeated') && this.#peek() !== '.') {
      label = token;
      token = this.#next();
    }
    let kind: Draft['kind'] = null;
    let typeText = '';
    if (token === 'map' && this.#peek() === '<') {
      kind = 'map';
      this.#passTo('>');
    } else if (token === 'group' && this.#peek() !== '.') {
      kind = 'group';
    } else {
      typeText = this.#name(token);
    }
    const name = this.#next();
    this.#expect('=');
    const number = Number(this.#next());
    if (!Number.isInteger(number)) this.#fail();
    const options = this.#peek() === '[' ? this.#fieldOptions() : null;
    message.drafts.push({
      // The field of a group is its type's name in lower case.
      name: kind === 'group' ? name.toLowerCase() : name,
      number,
      typeText,
      kind,
      label,
      repeated: label === 'repeated' || kind === 'map',
      inOneof,
      featurePresence: options?.get(PRESENCE_OPTION) ?? null,
    });
    if (kind === 'group') message.nested.push(this.#body(join(message.fullName, name)));
    else this.#expect(';');
  }

  #fieldOptions(): Map<string, string> {
    const options = new Map<string, string>();
    this.#expect('[');
    while (this.#peek() !== ']') {
      const [name, value] = this.#option();
      options.set(name, value);
      if (this.#peek() === ',') this.#next();
    }
    this.#next();
    return options;
  }

  /** `name = value`; of an aggregate value only the end is of interest. */
  #option(): [name: string, value: string] {
    let name = '';
    while (this.#peek() !== '=') name += this.#next();
    this.#next();
    const value = this.#next();
    if (value === '{' || value === '<') this.#passBlock(value);
    else {
      // A sign, or text in several pieces.
      while (![';', ',', ']'].includes(this.#peek())) this.#next();
    }
    return [name, value];
  }

  #enum(scope: string): void {
    const fullName = join(scope, this.#next());
    const names = new Map<number, string>();
    this.#names.add(fullName);
    this.#expect('{');
    for (;;) {
      const token = this.#next();
      if (token === '}') break;
      if (token === ';') continue;
      if (token === 'option' && this.#peek() !== '=') {
        this.#option();
        this.#expect(';');
      } else if (token === 'reserved' && this.#peek() !== '=') this.#passStatement();
      else {
        this.#expect('=');
        const negative = this.#peek() === '-';
        if (negative) this.#next();
        const number = Number(this.#next()) * (negative ? -1 : 1);
        if (!Number.isInteger(number)) this.#fail();
        if (!names.has(number + 0)) names.set(number + 0, token);
        if (this.#peek() === '[') this.#fieldOptions();
        this.#expect(';');
      }
    }
    this.#enums.push({ fullName, names });
  }

  #finished({ fullName, drafts, nested }: DraftMessage): ProtoMessage {
    return {
      fullName,
      fields: drafts.map((draft) => this.#resolved(draft, fullName)),
      nested: nested.map((message) => this.#finished(message)),
    };
  }

  #resolved({ typeText, label, inOneof, featurePresence, ...draft }: Draft, scope: string): ProtoField {
    const { name, number, repeated } = draft;
    if (draft.kind !== null) {
      return { name, number, repeated, type: draft.kind, kind: draft.kind, presence: !repeated };
    }
    if (SCALARS.has(typeText)) {
      const presence = !repeated && (inOneof || this.#tracked(label, featurePresence));
      return { name, number, repeated, type: typeText, kind: 'scalar', presence };
    }
    const type = this.#fullName(typeText, scope);
    // That a message always knows its presence is for the compiler of readers, who sees whether it is one.
    const presence = !repeated && (inOneof || this.#tracked(label, featurePresence));
    return { name, number, repeated, type, kind: 'named', presence };
  }

  #tracked(label: Draft['label'], featurePresence: string | null): boolean {
    if (this.#syntax === 'proto3') return label === 'optional';
    if (this.#syntax === 'proto2') return true;
    return (featurePresence ?? this.#filePresence) !== 'IMPLICIT';
  }

  /** Protobuf looks for the first part of a name from the innermost scope out. */
  #fullName(text: string, scope: string): string {
    if (text.startsWith('.')) return text.slice(1);
    const parts = scope.split('.');
    for (let length = parts.length; length >= 0; length--) {
      const candidate = join(parts.slice(0, length).join('.'), text);
      if (this.#names.has(candidate)) return candidate;
    }
    return text;
  }

  /** A name with dots, from here on or from a token that was taken. */
  #name(first = this.#next()): string {
    let name = first === '.' ? `.${this.#next()}` : first;
    while (this.#peek() === '.') name += this.#next() + this.#next();
    if (!/^\.?[A-Za-z_][A-Za-z0-9_.]*$/.test(name)) this.#fail();
    return name;
  }

  /** The rest of a statement: to its semicolon, or over its block. */
  #passStatement(): void {
    for (;;) {
      const token = this.#next();
      if (token === ';') return;
      if (token === '{') {
        this.#passBlock('{');
        return;
      }
    }
  }

  /** Behind the end of a block whose opening was taken. */
  #passBlock(open: '{' | '<'): void {
    const close = open === '{' ? '}' : '>';
    for (let depth = 1; depth > 0; ) {
      const token = this.#next();
      if (token === open) depth++;
      else if (token === close) depth--;
    }
  }

  #passTo(end: string): void {
    while (this.#next() !== end);
  }

  #peek(): string {
    return this.#tokens[this.#at] ?? this.#fail();
  }

  #next(): string {
    const token = this.#peek();
    this.#at++;
    return token;
  }

  #expect(token: string): void {
    if (this.#next() !== token) this.#fail();
  }

  #fail(): never {
    const token = this.#tokens[Math.min(this.#at, this.#tokens.length - 1)];
    throw new ProtoSyntaxError(
      this.#at >= this.#tokens.length
        ? 'it ends too early'
        : `it cannot be read at token ${this.#at} (${token})`,
    );
  }
}

const join = (scope: string, name: string): string => (scope === '' ? name : `${scope}.${name}`);
const unquoted = (text: string): string => text.slice(1, -1);

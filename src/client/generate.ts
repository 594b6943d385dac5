/** As much of an OpenAPI 3.1 document as decides types. */
export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

interface Operation {
  readonly summary?: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean; readonly schema: Schema }[];
  readonly requestBody?: { readonly required?: boolean; readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly content?: Content }>>;
}

type Content = Readonly<Record<string, { readonly schema: Schema }>>;

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

/** Declarations of every route, made from the document the server serves, so that they cannot say anything else. */
export function generate(document: Document): string {
  const schemas = Object.entries(document.components.schemas).map(([name, schema]) => `  ${quoted(name)}: ${typeOf(schema)};`);
  const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
    METHODS.flatMap((method) => {
      const operation = methods[method];
      return operation ? [routeText(`${method.toUpperCase()} ${path}`, operation)] : [];
    }),
  );
  return [
    '// Made from the OpenAPI document by `npm run client`. Not to be edited.',
    `export interface Schemas {\n${schemas.join('\n')}\n}`,
    `export interface Routes {\n${routes.join('\n')}\n}`,
    '',
  ].join('\n\n');
}

function routeText(name: string, operation: Operation): string {
  const { parameters = [], requestBody, summary } = operation;
  const fields = [
    group(
      'params',
      parameters.filter((one) => one.in === 'path'),
    ),
    group(
      'query',
      parameters.filter((one) => one.in === 'query'),
    ),
    bodyOf(requestBody),
    header(parameters, 'idempotency-key', 'idempotencyKey'),
    header(parameters, 'if-match', 'ifMatch'),
    { text: 'signal?: AbortSignal', required: false },
  ].filter((one) => one !== undefined);
  const optional = fields.every(({ required }) => !required);
  const input = `{ ${fields.map(({ text }) => text).join('; ')} }`;
  const said = summary ? `  /** ${summary.replaceAll('*/', '* /')} */\n` : '';
  return `${said}  ${quoted(name)}: { args: [input${optional ? '?' : ''}: ${input}]; answer: ${answerOf(operation)} };`;
}

interface Field {
  readonly text: string;
  readonly required: boolean;
}

function group(name: string, parameters: NonNullable<Operation['parameters']>): Field | undefined {
  if (parameters.length === 0) return undefined;
  const required = parameters.some((one) => one.required === true);
  const inner = parameters.map(
    (one) => `${quoted(one.name)}${one.required ? '' : '?'}: ${typeOf(one.schema)}${one.required ? '' : ' | undefined'}`,
  );
  return { text: `${name}${required ? '' : '?'}: { ${inner.join('; ')} }`, required };
}

function bodyOf(body: Operation['requestBody']): Field | undefined {
  const schema = body?.content['application/json']?.schema;
  return schema && { text: `body${body.required ? '' : '?'}: ${typeOf(schema)}`, required: body.required === true };
}

/** Never demanded: whether a key is needed depends on who asks. */
const header = (parameters: NonNullable<Operation['parameters']>, name: string, field: string): Field | undefined =>
  parameters.some((one) => one.in === 'header' && one.name.toLowerCase() === name)
    ? { text: `${field}?: string`, required: false }
    : undefined;

/** Of everything that is not JSON the stream; several good answers are one or the other. */
function answerOf({ responses }: Operation): string {
  const good = Object.entries(responses).filter(([status]) => /^2\d\d$/.test(status));
  const types = good.flatMap(([, { content = {} }]) =>
    Object.entries(content).map(([type, { schema }]) =>
      type === 'application/json' ? typeOf(schema) : 'ReadableStream<Uint8Array> | null',
    ),
  );
  return union(types.length > 0 ? types : ['null']);
}

function typeOf(schema: Schema): string {
  if (schema.$ref) return `Schemas[${quoted(schema.$ref.split('/').at(-1) ?? '')}]`;
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return union(schema.enum.map((one) => JSON.stringify(one)));
  const some = schema.anyOf ?? schema.oneOf;
  if (some) return union(some.map(typeOf));
  if (schema.allOf) return schema.allOf.map((one) => `(${typeOf(one)})`).join(' & ');
  const types = typeof schema.type === 'string' ? [schema.type] : (schema.type ?? (schema.properties ? ['object'] : []));
  return types.length === 0 ? 'unknown' : union(types.map((type) => plain(type, schema)));
}

function plain(type: string, schema: Schema): string {
  switch (type) {
    case 'integer':
    case 'number':
      return 'number';
    case 'string':
    case 'boolean':
    case 'null':
      return type;
    case 'array':
      return `ReadonlyArray<${schema.items ? typeOf(schema.items) : 'unknown'}>`;
    case 'object':
      return objectOf(schema);
    default:
      return 'unknown';
  }
}

function objectOf({ properties = {}, required = [], additionalProperties }: Schema): string {
  const fields = Object.entries(properties).map(([name, schema]) =>
    required.includes(name) ? `${quoted(name)}: ${typeOf(schema)}` : `${quoted(name)}?: ${typeOf(schema)} | undefined`,
  );
  const rest =
    additionalProperties === undefined || additionalProperties === false ? null : additionalProperties === true ? {} : additionalProperties;
  if (fields.length === 0) return rest === null ? 'Record<string, never>' : `{ [name: string]: ${typeOf(rest)} }`;
  const closed = `{ ${fields.join('; ')} }`;
  return rest === null ? closed : `${closed} & { [name: string]: ${Object.keys(rest).length > 0 ? `${typeOf(rest)} | ` : ''}unknown }`;
}

const union = (types: readonly string[]): string => [...new Set(types)].join(' | ');
const quoted = (name: string): string => JSON.stringify(name);

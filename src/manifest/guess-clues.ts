// What do a package and its entry file give away about a service? Patterns over text, nothing more.

export interface PackageFile {
  readonly name: string | undefined;
  readonly start: string | undefined;
  readonly main: string | undefined;
  readonly nodeEngine: string | undefined;
  readonly dependencies: ReadonlySet<string>;
}

/** The parts of a package.json that matter; all missing when it is none. */
export function packageOf(json: string): PackageFile {
  let root: unknown;
  try {
    root = JSON.parse(json);
  } catch {
    root = undefined;
  }
  const at = (value: unknown, key: string): unknown =>
    typeof value === 'object' && value !== null && Object.hasOwn(value, key)
      ? (value as Readonly<Record<string, unknown>>)[key]
      : undefined;
  const text = (value: unknown): string | undefined =>
    typeof value === 'string' && value.trim() !== '' && value.length < 2000 ? value : undefined;
  const dependencies = at(root, 'dependencies');
  const known = typeof dependencies === 'object' && dependencies !== null ? dependencies : {};
  return {
    name: text(at(root, 'name')),
    start: text(at(at(root, 'scripts'), 'start')),
    main: text(at(root, 'main')),
    nodeEngine: text(at(at(root, 'engines'), 'node')),
    dependencies: new Set(Object.keys(known).slice(0, 1000)),
  };
}

export interface Clues {
  readonly readsPort: boolean;
  readonly port: number | undefined;
  readonly health: string | undefined;
  readonly readsDatabaseUrl: boolean;
  readonly postgres: boolean;
  readonly nodeEngine: string | undefined;
}

const READS_PORT =
  /process\.env(?:\.PORT\b|\[['"]PORT['"]\])|(?:environ|getenv)[^\n]{0,20}['"]PORT['"]/u;
const LISTENS =
  /\.listen\(\s*(?:\{[^}]{0,100}?port\s*:\s*)?(\d{2,5})\b|\bport\s*[:=]\s*(\d{4,5})\b/iu;
const HEALTH =
  /['"`](\/(?:api\/)?(?:readyz|ready|readiness|healthz|health|livez|status|ping|_health))['"`]/u;
const POSTGRES = ['pg', 'postgres', 'pg-promise', '@prisma/client', 'typeorm', 'sequelize'];

export function clues(entry: string, pack: PackageFile): Clues {
  const listens = LISTENS.exec(entry);
  const port = Number(listens?.[1] ?? listens?.[2]);
  return {
    readsPort: READS_PORT.test(entry),
    port: Number.isInteger(port) && port > 0 && port <= 65_535 ? port : undefined,
    health: HEALTH.exec(entry)?.[1],
    readsDatabaseUrl: entry.includes('DATABASE_URL'),
    postgres: POSTGRES.some((name) => pack.dependencies.has(name)),
    nodeEngine: pack.nodeEngine,
  };
}

const FRAMEWORKS = ['fastify', 'express', 'koa', '@nestjs/core', '@hapi/hapi', 'hono', 'next'];

export function framework(pack: PackageFile): string | undefined {
  return FRAMEWORKS.find((name) => pack.dependencies.has(name));
}

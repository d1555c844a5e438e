// What does the compiler make of the contract? The same settings always, no metadata in the code,
// so that the bytecode is a function of the source alone.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

export interface Compiled {
  readonly abi: readonly unknown[];
  readonly bytecode: string;
  readonly deployedBytecode: string;
  readonly methods: Readonly<Record<string, string>>;
}

interface SolcOutput {
  readonly errors?: readonly { readonly severity: string; readonly formattedMessage: string }[];
  readonly contracts: Readonly<
    Record<
      string,
      Readonly<
        Record<
          string,
          {
            readonly abi: readonly unknown[];
            readonly evm: {
              readonly bytecode: { readonly object: string };
              readonly deployedBytecode: { readonly object: string };
              readonly methodIdentifiers: Readonly<Record<string, string>>;
            };
          }
        >
      >
    >
  >;
}

const FOLDER = new URL('../../contracts/', import.meta.url);

export function compileContract(): Compiled {
  const solc = createRequire(import.meta.url)('solc') as { compile(input: string): string };
  const name = 'KintsugiAnchor.sol';
  const input = {
    language: 'Solidity',
    sources: { [name]: { content: readFileSync(new URL(name, FOLDER), 'utf8') } },
    settings: {
      // The oldest target that every chain with EIP-1559 runs: no PUSH0 needed.
      evmVersion: 'paris',
      optimizer: { enabled: true, runs: 10_000 },
      metadata: { appendCBOR: false, bytecodeHash: 'none' },
      outputSelection: {
        '*': { '*': ['abi', 'evm.bytecode', 'evm.deployedBytecode', 'evm.methodIdentifiers'] },
      },
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input))) as SolcOutput;
  const problems = output.errors ?? [];
  if (problems.length > 0) throw new Error(problems.map((p) => p.formattedMessage).join('\n'));
  const contract = output.contracts[name]?.['KintsugiAnchor'];
  if (contract === undefined) throw new Error('the compiler returned no contract');
  return {
    abi: contract.abi,
    bytecode: `0x${contract.evm.bytecode.object}`,
    deployedBytecode: `0x${contract.evm.deployedBytecode.object}`,
    methods: contract.evm.methodIdentifiers,
  };
}

// Which parts of the ledger package does an auditor's command use beyond its front page? One place,
// so that it shows how much of the format is read here: maps, epochs, proofs and frames.

export * from '@kintsugi/ledger/auditor';

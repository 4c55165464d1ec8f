/** Tables of instructions: rows `mnemonic | ...`, each of which is read into its forms when first asked for. */

export interface FormTable<F> {
  /** Every form of a mnemonic, in the order of the rows; none of one that there is not. */
  formsOf(mnemonic: string): readonly F[];
  /** Every mnemonic. */
  mnemonics(): Iterable<string>;
}

export function formTable<F>(rows: readonly string[], read: (row: string) => readonly F[]): FormTable<F> {
  const byMnemonic = new Map<string, string[]>();
  for (const row of rows) {
    const mnemonic = row.slice(0, row.indexOf('|')).trim();
    const known = byMnemonic.get(mnemonic);
    if (known === undefined) byMnemonic.set(mnemonic, [row]);
    else known.push(row);
  }
  const known = new Map<string, readonly F[]>();
  return {
    formsOf(mnemonic) {
      let forms = known.get(mnemonic);
      if (forms === undefined) {
        forms = (byMnemonic.get(mnemonic) ?? []).flatMap(read);
        known.set(mnemonic, forms);
      }
      return forms;
    },
    mnemonics: () => byMnemonic.keys(),
  };
}

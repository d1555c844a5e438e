// Which names and texts look as if they held a secret? A guess that errs towards hiding.

const SECRET_WORD =
  /(?:^|[_-])(?:PASSWORD|PASSWD|PASSPHRASE|PWD|SECRET|TOKEN|KEY|CREDENTIAL|APIKEY)S?$/iu;
const PUBLIC_WORD = /PUBLIC|PUBLISHABLE|SORT_KEY|PRIMARY_KEY/iu;

/** Does a name promise a secret? `API_KEY` does; `PUBLIC_KEY` and `KEY_FILE` do not. */
export function looksSecret(name: string): boolean {
  return SECRET_WORD.test(name) && !PUBLIC_WORD.test(name) && name !== 'PWD';
}

const URL_WITH_PASSWORD = /\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s/:@]{0,100}:([^\s/@]{1,200})@/iu;

/** Does a text hold a URL with a password that is not a reference? */
export function holdsPassword(text: string): boolean {
  const plain = text.replaceAll(/\$\{(?:secret|env):[^}]{0,200}\}/gu, '');
  return URL_WITH_PASSWORD.test(plain);
}

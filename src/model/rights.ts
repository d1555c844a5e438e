// What do the rights of a route speak of? Methods and roles, as the policy, the matrix and the
// credentials spell them.

/** Methods that policies can name. */
export const METHODS = ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;
/** Stands for every other method. */
export const OTHER = 'OTHER';

export const ROLES_MAX = 64;
const ROLE = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$/u;

/** `*` and the rows of kinds (`@key`) are no roles, so that nobody can claim them. */
export const isRole = (text: unknown): text is string =>
  typeof text === 'string' && ROLE.test(text);

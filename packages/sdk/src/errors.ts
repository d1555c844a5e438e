// What can go wrong inside the SDK itself? A short catalogue; each code says what to do.

export type SdkErrorCode =
  /** `trust` is "assertion" (the default), but KINTSUGI_ASSERTION_KEY is not set. */
  | 'KIN_SDK_NO_KEY'
  /** A tenant was asked for outside a verified request. */
  | 'KIN_SDK_NO_TENANT'
  /** The address of the service is taken or not allowed. */
  | 'KIN_SDK_LISTEN';

export class SdkError extends Error {
  readonly code: SdkErrorCode;

  constructor(code: SdkErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SdkError';
    this.code = code;
  }
}

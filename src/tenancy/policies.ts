// Who may do what with the evidence? The Cedar schema and the policies, as text that a compliance
// officer can read. What no policy permits is denied; an auditor reveals nothing until somebody
// writes a policy that says so.
// The key of each policy is the reason that decisions, records and messages name.

export const SCHEMA = `
entity Operator;
entity Auditor;
entity Tenant;

// The log that holds every entry.
entity SystemLog;
// The view of one tenant.
entity TenantLog = { tenant: Tenant };

action ReadLog appliesTo {
  principal: [Operator, Auditor, Tenant], resource: [SystemLog]
};
action ReadTenantLog appliesTo {
  principal: [Operator, Auditor, Tenant], resource: [TenantLog]
};
action Prove appliesTo {
  principal: [Operator, Auditor, Tenant], resource: [SystemLog, TenantLog]
};
// Fields of persons, decrypted.
action RevealPrivate appliesTo {
  principal: [Operator, Auditor, Tenant], resource: [TenantLog]
};
action Erase appliesTo {
  principal: [Operator, Auditor, Tenant], resource: [TenantLog]
};
// Legal holds and restrictions, and lifting them.
action Hold appliesTo {
  principal: [Operator, Auditor, Tenant], resource: [SystemLog, TenantLog]
};
action Publish appliesTo {
  principal: [Operator, Auditor, Tenant], resource: [SystemLog]
};
`;

export const POLICIES: Readonly<Record<string, string>> = {
  'operator-reads': `
    permit (
      principal is Operator,
      action in [Action::"ReadLog", Action::"ReadTenantLog", Action::"Prove"],
      resource
    );`,
  'operator-reveals': `
    permit (principal is Operator, action == Action::"RevealPrivate", resource is TenantLog);`,
  'operator-erases': `
    permit (principal is Operator, action == Action::"Erase", resource is TenantLog);`,
  'operator-holds': `
    permit (principal is Operator, action == Action::"Hold", resource);`,
  'operator-publishes': `
    permit (principal is Operator, action == Action::"Publish", resource is SystemLog);`,

  'auditor-reads': `
    permit (
      principal is Auditor,
      action in [Action::"ReadLog", Action::"ReadTenantLog", Action::"Prove"],
      resource
    );`,

  'tenant-reads-own': `
    permit (
      principal is Tenant,
      action in [Action::"ReadTenantLog", Action::"Prove"],
      resource is TenantLog
    ) when { resource.tenant == principal };`,
  'tenant-reveals-own': `
    permit (principal is Tenant, action == Action::"RevealPrivate", resource is TenantLog)
    when { resource.tenant == principal };`,
  // The same boundary a second time, behind the check in code.
  'tenant-boundary': `
    forbid (principal is Tenant, action, resource is TenantLog)
    unless { resource.tenant == principal };`,
};

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

// Where does the newest head of a log stand, so that nobody can take it back?
//
//   C1. A head belongs to the account that sent it: nobody can anchor for another account.
//   C2. The size of a log only grows. The same size with the same root changes nothing.
//   C3. The same size with another root is a fork, and reverts.
//
// No owner, no upgrade, no value, no way to delete: one deployment serves everybody.
contract KintsugiAnchor {
    struct Head {
        uint64 size;
        bytes32 root;
    }

    /// The same size was anchored with another root.
    error Fork();
    /// A larger size was anchored before.
    error Shrunk();

    event Anchored(
        address indexed owner,
        bytes32 indexed logId,
        uint64 indexed size,
        bytes32 root,
        bytes32 checkpoint
    );

    /// The newest head by owner and log id.
    mapping(address owner => mapping(bytes32 logId => Head head)) public latest;

    /// `logId`: SHA-256 of the origin. `checkpoint`: SHA-256 of the signed checkpoint.
    function anchor(bytes32 logId, uint64 size, bytes32 root, bytes32 checkpoint) external {
        Head storage head = latest[msg.sender][logId];
        uint64 before = head.size;
        if (size < before) revert Shrunk();
        if (size == before) {
            if (root != head.root) revert Fork();
            return;
        }
        head.size = size;
        head.root = root;
        emit Anchored(msg.sender, logId, size, root, checkpoint);
    }
}

"""What can go wrong with keeping things. No other exception leaves the object stores.

StorageError
├── InvalidKey          not a key of the allowed form: the caller's mistake, nothing was touched
├── InvalidStoreURL     the setting that names the store can't be read
├── InvalidValue        no row can hold it, as PostgreSQL's text no NUL: the caller's mistake
├── ObjectNotFound      nothing is kept under this key
├── ObjectExists        the key is taken; what is there stays as it is
├── ObjectLocked        retention or a hold forbids it; nothing was changed, time or people must act
├── ObjectDiffers       what the store gives back is not what was put there
├── StoreFull           no room: an operator must make some; nothing of the object stays
└── StoreUnavailable    the store does not do its work now; the message says who must act
    ├── WriteConflict       lost against another transaction; nothing was written
    ├── ConnectionLost      broken before the commit was sent: nothing was written
    ├── CommitUnknown       broken while it was: written, or not, or about to be
    └── StoreReadOnly       it can be read; a standby, or a volume or database set read-only
"""

from __future__ import annotations


class StorageError(Exception):
    """Base of all."""


class InvalidKey(StorageError):
    pass


class InvalidStoreURL(StorageError):
    pass


class InvalidValue(StorageError):
    pass


class ObjectNotFound(StorageError):
    pass


class ObjectExists(StorageError):
    pass


class ObjectLocked(StorageError):
    pass


class ObjectDiffers(StorageError):
    pass


class StoreFull(StorageError):
    pass


class StoreUnavailable(StorageError):
    pass


class WriteConflict(StoreUnavailable):
    pass


class ConnectionLost(StoreUnavailable):
    pass


class CommitUnknown(StoreUnavailable):
    pass


class StoreReadOnly(StoreUnavailable):
    pass

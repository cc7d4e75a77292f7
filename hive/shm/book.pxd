"""The C classes of books under one name: `from hive.shm.book cimport BookReader`."""

from hive.shm.book_reader cimport BookCopy, BookReader, BookTop
from hive.shm.book_writer cimport BookWriter

#!/bin/bash
# Makes the two databases and their owners, once, in a new cluster. The server is
# not reachable by network while this runs.
set -euo pipefail

# psql quotes the values itself (:'…'); they are in no argument list.
metabase_password=$(cat /run/secrets/metabase_database_password)
storekeeper_password=$(cat /run/secrets/storekeeper_database_password)
export metabase_password storekeeper_password

psql --no-psqlrc --set ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
\getenv metabase_password metabase_password
\getenv storekeeper_password storekeeper_password

CREATE ROLE metabase LOGIN PASSWORD :'metabase_password';
CREATE DATABASE metabase OWNER metabase;
REVOKE ALL ON DATABASE metabase FROM PUBLIC;

-- CREATEROLE: every wall (store, region or brand) is a role that storekeeper makes.
CREATE ROLE storekeeper LOGIN CREATEROLE PASSWORD :'storekeeper_password';
CREATE DATABASE storekeeper OWNER storekeeper;
-- Walls are let in one by one.
REVOKE ALL ON DATABASE storekeeper FROM PUBLIC;
SQL

#!/bin/sh
# Makes the secrets of a compose installation in a folder: sh deploy/make-secrets.sh FOLDER
# What is there stays as it is, so that it can be run again. Nobody but you can enter the folder; the files in it are
# readable, since each container reads them as a user of its own.
set -eu
folder=${1:?which folder? sh deploy/make-secrets.sh FOLDER}
mkdir -p "$folder"
chmod 700 "$folder"
umask 022

secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
keep() {
    [ -s "$folder/$1" ] && return
    printf '%s\n' "$2" >"$folder/$1.part"
    mv "$folder/$1.part" "$folder/$1"
    echo "made $folder/$1"
}

keep neo4j_password "$(secret)"
keep neo4j_auth "neo4j/$(cat "$folder/neo4j_password")"
keep redis_password "$(secret)"
keep redis_auth "requirepass $(cat "$folder/redis_password")"
keep broker_url "redis://:$(cat "$folder/redis_password")@redis:6379/0"
keep webhook_token "$(secret)"
keep grafana_password "$(secret)"

-- The databases of the lab's servers, made when the volume of PostgreSQL is new.
CREATE DATABASE mlflow;
CREATE DATABASE prefect;

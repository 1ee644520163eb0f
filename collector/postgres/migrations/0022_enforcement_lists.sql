-- Lists of enforcements by what is done.
create index enforcements_of_action on enforcements (action, index);
